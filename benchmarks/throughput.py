"""How many puzzles a second each scheme trains on and answers, and where the time of a training update goes.

    python benchmarks/throughput.py                             # the sudoku-6x6 preset under trm, dis and pi
    python benchmarks/throughput.py --config sudoku-9x9 --json throughput.json \
        network.width=128 network.mixer=attention network.positions=rope collector.num_envs=32

Whole training episodes of an untrained network, so that no scheme profits from having learned to stop: later `pi` and
`trm` finish puzzles faster than this. The schemes take turns, so that a machine that slows down slows all of them; the
median over the turns is reported. Evaluation takes all steps of the scheme.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from latent_rl import cli
from latent_rl.config import load_config

EXAMPLE = "  python benchmarks/throughput.py --config sudoku-6x6 --turns 3 threads=1 --json throughput.json"
PARTS = ("network forward", "environment", "collector", "loss and backward", "optimizer", "weight average")


class Stopwatch:
    """Seconds spent inside watched functions, with what they spend in other watched functions taken out."""

    def __init__(self, settle: Callable[[], object]) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._settle = settle
        self._inner: list[float] = []

    def watch(self, part: str, owner: Any, name: str) -> None:
        """Book the calls of a method under `part` from now on."""
        function = getattr(owner, name)

        @functools.wraps(function)
        def timed(*arguments: Any, **options: Any) -> Any:
            self._settle()
            started = time.perf_counter()
            self._inner.append(0.0)
            try:
                return function(*arguments, **options)
            finally:
                self._settle()
                spent = time.perf_counter() - started
                self.seconds[part] += spent - self._inner.pop()
                if self._inner:
                    self._inner[-1] += spent

        setattr(owner, name, timed)


class Contestant:
    """A training run of one scheme whose parts are timed."""

    def __init__(self, preset: str, scheme: str, overrides: Sequence[str]) -> None:
        import torch

        from latent_rl.training import assemble

        self.scheme = scheme
        config = load_config(preset, [*overrides, f"scheme={scheme}", "collector.mode=fused", "tracking.enabled=false"])
        self.run = run = assemble(config)
        self.settle = torch.cuda.synchronize if run.device.type == "cuda" else lambda: None
        self.watch = Stopwatch(self.settle)
        learner = run.learner
        self.watch.watch("network forward", run.policy, "forward")
        for name in ("step", "reset"):
            self.watch.watch("environment", run.collection.environment.vector, name)
        self.watch.watch("collector", self, "collect")
        self.watch.watch("loss and backward", self, "learn")
        for optimizer in learner.optimizers:
            self.watch.watch("optimizer", optimizer, "step")
        self.watch.watch("weight average", learner, "average")
        self.training: list[float] = []
        self.answering: list[float] = []

    def collect(self) -> Any:
        """The collector's next batch."""
        return next(self.run.collection)

    def learn(self, batch: Any) -> None:
        """One update from a collected batch."""
        from latent_rl.training import weighted_sum

        with self.run.ledger.phase("update"):
            for steps in self.run.experience(batch):
                found = {name: loss(steps) for name, loss in self.run.losses.items()}
                self.run.learner.step(weighted_sum(found, self.run.loss_weights)[0])

    def train(self, episodes: int) -> None:
        """Updates for so many whole episodes; remembers the puzzles that were finished in a second."""
        before = self.run.spent.puzzles
        self.settle()
        started = time.perf_counter()
        for _ in range(episodes * self.run.config.env.max_steps):
            self.learn(self.collect())
        self.settle()
        self.training.append((self.run.spent.puzzles - before) / (time.perf_counter() - started))

    def answer(self, puzzles: int) -> None:
        """One evaluation; remembers the puzzles that were answered in a second."""
        from latent_rl.measuring import evaluate

        run = self.run
        found = evaluate(
            run.learner.averaged_reasoner,
            run.puzzle,
            run.puzzle.instances("test")[:puzzles],
            max_steps=run.config.env.max_steps,
            batch_size=run.config.evaluation.batch_size,
            ledger=run.ledger,
            halting=run.halting.rule,
        )
        self.answering.append(puzzles / found.seconds)

    def forget(self) -> None:
        """Drop what was measured: the first turn warms up."""
        self.training.clear()
        self.answering.clear()
        self.watch.seconds.clear()

    def as_json(self) -> dict[str, Any]:
        """Medians over the turns, and the share of the time that each part took."""
        total = sum(self.watch.seconds.values())
        return {
            "scheme": self.scheme,
            "train_puzzles_per_second": statistics.median(self.training),
            "eval_puzzles_per_second": statistics.median(self.answering),
            "shares": {part: self.watch.seconds[part] / total for part in PARTS},
        }


def main(arguments: Sequence[str] | None = None) -> None:
    """The command-line program."""
    parser = cli.Parser("throughput", "Measure the speed of the schemes, and of the parts of an update.", EXAMPLE)
    parser.prog = "python benchmarks/throughput.py"
    parser.add_argument("--config", default="sudoku-6x6", metavar="NAME|FILE")
    parser.add_argument("--schemes", nargs="+", default=["trm", "dis", "pi"], metavar="SCHEME")
    parser.add_argument("--turns", type=int, default=3, help="turns of each scheme (default: %(default)s)")
    parser.add_argument("--episodes", type=int, default=2, help="training episodes in a turn (default: %(default)s)")
    parser.add_argument("--puzzles", type=int, default=100, help="puzzles answered in a turn (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    options = parser.parse_args(arguments)

    contestants = [Contestant(options.config, scheme, options.overrides) for scheme in options.schemes]
    for turn in range(options.turns + 1):
        for contestant in contestants:
            contestant.train(options.episodes)
            contestant.answer(options.puzzles)
            if turn == 0:
                contestant.forget()
    results = [contestant.as_json() for contestant in contestants]
    show(contestants[0], results)
    cli.write_json(options.json, {"config": options.config, "overrides": options.overrides, "schemes": results})


def show(first: Contestant, results: Sequence[dict[str, Any]]) -> None:
    """Print one column a scheme."""
    from rich.console import Console
    from rich.table import Table

    config = first.run.config
    title = f"{first.run.puzzle.name}, width {config.network.width}, {config.collector.num_envs} environments"
    table = Table("", *[result["scheme"] for result in results], title=title)
    for key, name in (
        ("train_puzzles_per_second", "training, puzzles/s"),
        ("eval_puzzles_per_second", "answering, puzzles/s"),
    ):
        table.add_row(name, *[f"{result[key]:.1f}" for result in results])
    for part in PARTS:
        table.add_row(part, *[f"{result['shares'][part]:.1%}" for result in results])
    Console(highlight=False).print(table)


if __name__ == "__main__":
    cli.run_program(main)
