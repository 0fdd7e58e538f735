"""The kinds of run that are killed, and what each leaves when nothing disturbs it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hammer.runner import Stable

INTERVAL = 0.2
"""Training seconds between two checkpoints."""

NAME = "victim"

TINY = [
    "network.width=16", "env.options.train=500", "env.options.test=100", "env.options.validation=50",
    "tracking.enabled=false",
    "budget.seconds=null", "budget.updates=40", f"checkpoint_every_seconds={INTERVAL}", "device=cpu", "threads=1",
    "evaluation.every_updates=15",
]  # fmt: skip
"""About a second of training, a handful of checkpoints."""


@dataclass(frozen=True)
class Mode:
    """A kind of run.

    Attributes:
        program: train, halt or compare.
        arguments: its settings.
        out: the folder of its result.
        taught: it starts from a trained model in `runs/victim`.
    """

    program: str
    arguments: tuple[str, ...]
    out: str = f"runs/{NAME}"
    taught: bool = False

    @property
    def kept(self) -> str:
        """A file of the checkpoint that going on needs."""
        return f"{self.out}/checkpoint/training.pt"

    def begin(self) -> list[str]:
        """The command that begins it: the program and its arguments."""
        return [self.program, *self.arguments]

    def go_on(self, folder: Path) -> list[str]:
        """The command that a user gives after the run was cut off.

        Only training has a command of its own for it, and only once there is a checkpoint; before, the user removes the
        folder that it left and begins again.
        """
        if self.program != "train":
            return self.begin()
        if (folder / self.kept).exists():
            return ["train", "--resume", self.out]
        shutil.rmtree(folder / self.out, ignore_errors=True)
        return self.begin()


def _train(*settings: str) -> Mode:
    return Mode("train", (*TINY, f"name={NAME}", *settings))


REPLAY = (
    "collector.mode=replay",
    "collector.num_envs=16",
    "collector.steps_per_batch=3",
    "collector.minibatch_size=24",
)

MODES = {
    "pi": _train("scheme=pi"),
    "dis": _train("scheme=dis"),
    "trm": _train("scheme=trm", "network.cycles=2", "network.inner_updates=2", "env.max_steps=8"),
    "pi-halt": _train("scheme=pi-halt", "halting.ppo.steps=4"),
    "replay": _train(*REPLAY),
    "replay-return": _train(*REPLAY, "loss.terms.solved=null", "loss.terms.return.weight=0.5", "collector.epochs=2"),
    "arc": _train(
        "env.id=latent_rl/Arc-v0", "env.options={test: mini, train: [], side: 8, augmentations: 10}",
        "network.puzzle_positions=2", "network.puzzle_embedding_width=20", "collector.num_envs=16", "env.max_steps=3",
    ),
    "halt": Mode(
        "halt",
        (f"runs/{NAME}", "--pass-costs", "1e-3", "1e-2", "--out", "runs/taught", "--device", "cpu",
         "halting.ppo.puzzles=200", "halting.ppo.iterations=10"),
        out="runs/taught",
        taught=True,
    ),
    "compare": Mode(
        "compare",
        ("--schemes", "pi", "dis", "--seeds", "1", "--out", "runs/compared", *TINY, "budget.updates=20",
         "evaluation.points=4"),
        out="runs/compared",
    ),
}  # fmt: skip


class References:
    """Undisturbed runs of the modes, each made when it is first asked for."""

    def __init__(self, stable: Stable) -> None:
        self.stable = stable
        self._made: dict[str, tuple[Path, float]] = {}

    def folder(self, name: str) -> Path:
        """The folder in which an undisturbed run has ended."""
        return self._made_now(name)[0]

    def seconds(self, name: str) -> float:
        """How long it took from the program's start to its end."""
        return self._made_now(name)[1]

    def new_folder(self, name: str) -> Path:
        """An empty folder for a run of a mode, with the trained model in it that `halt` needs."""
        folder = Path(tempfile.mkdtemp(dir=self.stable.scratch, prefix=f"{name}-"))
        if MODES[name].taught:
            shutil.copytree(self.folder("pi") / f"runs/{NAME}", folder / f"runs/{NAME}")
        return folder

    def _made_now(self, name: str) -> tuple[Path, float]:
        if name not in self._made:
            folder = self.new_folder(name)
            outcome = self.stable.run(folder, *MODES[name].begin())
            if outcome.code != 0:
                raise RuntimeError(f"an undisturbed {name} ended with {outcome.code}: {outcome.last_line()}")
            self._made[name] = (folder, outcome.seconds)
        return self._made[name]


def tracked(settings: Sequence[str], uri: str, updates: int = 40) -> list[str]:
    """The same settings with MLflow."""
    changes = ["tracking.enabled=true", f"tracking.uri={uri}", "tracking.every_updates=5", f"budget.updates={updates}"]
    return [*settings, *changes]
