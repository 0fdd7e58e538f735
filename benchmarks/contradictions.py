"""How long a deducing network follows a wrong branch: when a try loses the answer, and when it contradicts itself.

    python benchmarks/contradictions.py runs/sudoku-9x9-units-deduce-0 --puzzles 200 --steps 64

A try is what lies between two restarts of a puzzle. Of every try that ends in one it is told in which step it lost the
answer (its branch was wrong, or it removed a part of the answer), in which step elimination by hand would have found a
contradiction (in the units that the puzzle declares: what is decided in a unit goes from its other cells, and what has
one place left in a unit stands there), and in which step it ended. The answer key says when it was lost; the network
does not see it. docs/deduction.md says what follows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from elimination import Elimination
from torch import Tensor

from latent_rl import cli
from latent_rl.agents import CandidateReasoner, Deduction, answer_lost
from latent_rl.envs import Instances, Puzzle
from latent_rl.errors import UserError
from latent_rl.evaluate import labels_of
from latent_rl.measuring.deducing import deduce
from latent_rl.training import build_deduction

EXAMPLE = "  python benchmarks/contradictions.py runs/sudoku-9x9-units-deduce-0 --puzzles 200 --steps 64"


def tries_of(
    reasoner: CandidateReasoner, puzzle: Puzzle, instances: Instances, deduction: Deduction, steps: int
) -> tuple[Tensor, int]:
    """Of each try that ended in a contradiction the steps in which it was lost, contradicted itself and ended.

    Returns:
        int64 `[N, 3]`, counted from 1 in each try; and how many puzzles were solved.
    """
    elimination = Elimination(puzzle)
    step, lost, by_hand = torch.zeros(3, len(instances), dtype=torch.int64)
    ended, solved = [], 0
    for taken in deduce(reasoner, puzzle, instances, deduction, steps):
        rows, after = taken.rows, taken.after
        step[rows] += 1
        again = after.restarts > taken.before.restarts
        for seen, now in (
            (lost, answer_lost(after.candidates, after.solution)),
            (by_hand, elimination.contradicts(after.candidates)),
        ):
            # A try that begins anew was lost at the latest in the step that it ended with.
            fresh = (seen[rows] == 0) & (now | again)
            seen[rows[fresh]] = step[rows[fresh]]
        over = rows[again]
        ended.append(torch.stack([lost[over], by_hand[over], step[over]], dim=1))
        for seen in (step, lost, by_hand):
            seen[over] = 0
        solved += int(after.solved.sum())
    return torch.cat(ended), solved


def main(arguments: Sequence[str] | None = None) -> None:
    """The command-line program."""
    parser = cli.Parser("contradictions", "Measure how long a deducing network follows a wrong branch.", EXAMPLE)
    parser.prog = "python benchmarks/contradictions.py"
    cli.add_model_arguments(parser, device="cpu")
    parser.add_argument("--source", metavar="NAME", help="only puzzles of this source")
    cli.add_test_arguments(parser)
    options = parser.parse_args(arguments)
    cli.check_counts(parser, options)

    trained, config, puzzle = cli.open_model(options, options.overrides)
    if config.env.state != "candidates":
        raise UserError("this model does not deduce: it has no tries")
    instances = puzzle.instances("validation")
    if options.source is not None:
        sources = labels_of(puzzle, "validation", "source")
        if options.source not in sources:
            raise UserError(f"--source: there are {', '.join(sorted(set(sources)))}")
        instances = instances[torch.tensor([source == options.source for source in sources])]
    instances = instances[: options.puzzles]
    steps = options.steps or config.evaluation_steps
    tries, solved = tries_of(trained.reasoner, puzzle, instances, build_deduction(config), steps)
    names = ("lost", "contradiction by hand", "ended")
    means = dict(zip(names, tries.double().mean(0).tolist(), strict=True)) if len(tries) else {}
    print(f"{solved} of {len(instances)} validation puzzles solved in {steps} steps; {len(tries)} tries ended before")
    print("mean step: " + (", ".join(f"{name} {mean:.1f}" for name, mean in means.items()) or "no try ended"))
    cli.write_json(options.json, {"solved": solved, "puzzles": len(instances), "tries": len(tries), "steps": means})


if __name__ == "__main__":
    cli.run_program(main)
