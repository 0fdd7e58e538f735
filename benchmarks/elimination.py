"""Deduction without a network: elimination by hand, with the steps, branches and restarts that `deduce` has.

    python benchmarks/elimination.py --config sudoku-9x9-units --steps 64 --puzzles 500
    python benchmarks/elimination.py --config sudoku-hard-units --steps 256 --by source FILES

The control of every claim about a deducing network: what remains if nothing is learned. A step removes all that follows
by hand from the candidates (in the units that the puzzle declares: what is decided in a unit goes from its other cells,
and what has one place left in a unit stands there, until nothing changes). Then it branches, in a cell with the fewest
candidates; cell and symbol are drawn evenly. A contradiction begins the puzzle anew. Test puzzles; no training, no
network pass. FILES: env.options.train_file=… env.options.test_file=….
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from latent_rl import cli
from latent_rl.config import load_config
from latent_rl.envs import CandidateConfig, Instances, Puzzle, make_candidate_dynamics
from latent_rl.errors import UserError
from latent_rl.evaluate import labels_of
from latent_rl.training import build_puzzle

EXAMPLE = "  python benchmarks/elimination.py --config sudoku-9x9-units --steps 64 --puzzles 500"


class Elimination:
    """What follows by hand from candidates, in units of which each holds every interchangeable symbol once."""

    def __init__(self, puzzle: Puzzle) -> None:
        kinds = [torch.tensor(kind) for kind in puzzle.units]
        self.units_of_cell = len(kinds)
        self.symbols = list(puzzle.interchangeable)
        members = [kind == unit for kind in kinds for unit in kind.unique()]
        if not self.symbols or {int(of.sum()) for of in members} != {len(self.symbols)}:
            raise UserError(
                "elimination is for puzzles whose units hold each interchangeable symbol once, as Sudokus do"
            )
        self.members = torch.stack(members).float()

    def follow(self, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """All that follows: the candidates left, bool `[B, L, V]`, and which states are contradictions, bool `[B]`.

        Args:
            candidates: bool `[B, L, V]`, in every cell interchangeable symbols only.
        """
        left = candidates[..., self.symbols].float()
        while True:
            single = left * (left.sum(-1, keepdim=True) == 1)
            # How many other decided cells share a unit with a cell and hold the symbol, units counted one by one.
            elsewhere = self._of_cells(self._of_units(single)) - self.units_of_cell * single
            after = left * (elsewhere == 0)
            only = self._of_cells((self._of_units(after) == 1).float()) * after > 0
            after = torch.where(only.any(-1, keepdim=True), only.float(), after)
            if torch.equal(after, left):
                break
            left = after
        found = torch.zeros_like(candidates)
        found[..., self.symbols] = left > 0
        return found, (left.sum(-1) == 0).any(-1) | (self._of_units(left) == 0).flatten(1).any(1)

    def contradicts(self, candidates: Tensor) -> Tensor:
        """Which states come to a contradiction, bool `[B]`, of candidates bool `[B, L, V]`."""
        return self.follow(candidates)[1]

    def _of_units(self, cells: Tensor) -> Tensor:
        return torch.einsum("ul,bls->bus", self.members, cells)

    def _of_cells(self, units: Tensor) -> Tensor:
        return torch.einsum("ul,bus->bls", self.members, units)


def solve_by_hand(puzzle: Puzzle, instances: Instances, steps: int, seed: int = 0) -> Tensor:
    """In which step each puzzle was solved, int64 `[B]`, counted from 1 over all restarts; 0 if it was not."""
    elimination = Elimination(puzzle)
    generator = torch.Generator().manual_seed(seed)
    dynamics = make_candidate_dynamics(puzzle, CandidateConfig(max_steps=steps), torch.device("cpu"))
    solved_in = torch.zeros(len(instances), dtype=torch.int64)
    rows = torch.arange(len(instances))
    state = dynamics.start(instances, torch.zeros_like(rows))
    for step in range(1, steps + 1):
        keep, conflict = elimination.follow(state.candidates)
        cell, symbol = draw_branch(keep, conflict, generator)
        transition = dynamics.step(state, keep & ~conflict.view(-1, 1, 1), cell, symbol)
        solved_in[rows[transition.terminated]] = step
        going = ~transition.terminated
        if not going.any():
            break
        rows, state = rows[going], transition.state.of_rows(going)
    return solved_in


def draw_branch(left: Tensor, conflict: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A cell with the fewest candidates, `L` where nothing is open or all is lost, and one of them: int64 `[B]` each.

    Args:
        left: candidates, bool `[B, L, V]`.
        conflict: states that are given up, bool `[B]`.
        generator: of what is drawn, evenly.
    """
    counts = left.sum(-1)
    undecided = counts > 1
    # Between 0 and 1: it only decides between cells with equally many candidates.
    luck = torch.rand(counts.shape, generator=generator)
    cell = (counts + luck).masked_fill(~undecided, torch.inf).argmin(-1)
    weights = left[torch.arange(len(left)), cell].float()
    symbol = torch.rand(weights.shape, generator=generator).masked_fill(weights == 0, -1.0).argmax(-1)
    return torch.where(undecided.any(-1) & ~conflict, cell, counts.shape[1]), symbol


def main(arguments: Sequence[str] | None = None) -> None:
    """The command-line program."""
    parser = cli.Parser("elimination", "Solve test puzzles by elimination, branches and restarts alone.", EXAMPLE)
    parser.prog = "python benchmarks/elimination.py"
    parser.add_argument("--config", default="sudoku-9x9-units", metavar="NAME|FILE", help="default: %(default)s")
    parser.add_argument("--steps", type=int, metavar="N", help="over all restarts (default: evaluation.steps)")
    parser.add_argument("--by", metavar="NAME", help="also by what is known of the puzzles, such as source")
    parser.add_argument("--json", type=cli.json_file, metavar="FILE", help="write the result there; - for the screen")
    cli.add_test_arguments(parser)
    options = parser.parse_args(arguments)
    cli.check_counts(parser, options)

    config = load_config(options.config, options.overrides)
    if config.threads:
        torch.set_num_threads(config.threads)
    puzzle = build_puzzle(config)
    instances = puzzle.instances("test")[: options.puzzles]
    steps = options.steps or config.evaluation_steps
    started = time.perf_counter()
    solved_in = solve_by_hand(puzzle, instances, steps)
    seconds = time.perf_counter() - started
    kinds = {"all": torch.ones(len(instances), dtype=torch.bool)}
    if options.by is not None:
        labels = labels_of(puzzle, "test", options.by)[: len(instances)]
        kinds |= {kind: torch.tensor([label == kind for label in labels]) for kind in sorted(set(labels))}
    milestones = sorted({min(2**power, steps) for power in range(20)})
    result = {}
    for kind, rows in kinds.items():
        solved = {step: ((solved_in > 0) & (solved_in <= step))[rows].float().mean().item() for step in milestones}
        result[kind] = {"puzzles": int(rows.sum()), "solved_by_step": solved}
        told = ", ".join(f"{step}: {share:.1%}" for step, share in solved.items())
        print(f"{kind}, {int(rows.sum())} puzzles, solved within so many steps: {told}")
    print(f"{seconds:.1f} s")
    cli.write_json(options.json, result | {"seconds": seconds, "steps": steps})


if __name__ == "__main__":
    cli.run_program(main)
