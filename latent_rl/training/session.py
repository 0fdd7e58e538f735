"""A training run in memory: what `train` steps through, and what a checkpoint saves and brings back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDictBase
from torchrl.collectors import Collector

from latent_rl.agents import HaltingPolicy, LearnedHalt
from latent_rl.config import Config
from latent_rl.envs.arc import Arc
from latent_rl.errors import UserError
from latent_rl.measuring import Election, Evaluation, Ledger, elect, evaluate
from latent_rl.storage import Milestone, checkpoint
from latent_rl.training.assemble import (
    accelerate,
    build_environment,
    build_halting_learner,
    build_halting_policy,
    build_losses,
    build_policy,
    build_puzzle,
    build_reasoner,
    choose_device,
)
from latent_rl.training.experience import Experience, FusedExperience, ReplayExperience
from latent_rl.training.halting import ConcurrentHalting
from latent_rl.training.learner import Learner


class Session:
    """Everything that a training run consists of, built from its configuration, with the weights of `init` if given.

    Attributes:
        reasoner: the network that learns; `learner.averaged_reasoner` is the one that is evaluated and saved.
        ledger: counts the passes of both.
        history: the evaluations so far.
        election: the last vote on ARC's test inputs; None before, and for other puzzles.
        train_seconds: time spent collecting and learning; evaluating, logging and saving do not count.
    """

    def __init__(self, config: Config, init: Path | None = None) -> None:
        if config.threads:
            torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        self.config = config
        self.device = choose_device(config.device)
        self.puzzle = build_puzzle(config)
        self.test_instances = self.puzzle.instances("test")
        self.reasoner = build_reasoner(config, self.puzzle, self.device)
        if init is not None:
            # Before anything is made from the reasoner: its average, and the environment's initial latents.
            checkpoint.load_weights(self.reasoner, init)
        self.halting: HaltingPolicy | None = None
        if config.halting.rule == "learned":
            self.halting = build_halting_policy(config, self.reasoner)
        self.policy = build_policy(config, self.reasoner, self.halting)
        self.environment = build_environment(config, self.puzzle, self.reasoner)
        self.environment.torchrl.set_seed(config.seed)

        self.learner = Learner(self.reasoner, build_losses(config, self.reasoner), config.optimizer)

        self.concurrent_halting: ConcurrentHalting | None = None
        if self.halting is not None:
            learner = build_halting_learner(config, self.halting)
            self.concurrent_halting = ConcurrentHalting(self.policy, learner, config.halting.ppo.steps)

        # After the averaged copy was made, so that both have their own compiled network and their own hook.
        self.ledger = Ledger()
        for reasoner in (self.reasoner, self.learner.averaged_reasoner):
            accelerate(reasoner, config)
            self.ledger.watch(reasoner.network)
        self.experience = self._experience()
        self.history: list[Milestone] = []
        self.election: Election | None = None
        self.train_seconds = 0.0
        self._finished_puzzles = torch.zeros((), dtype=torch.int64, device=self.device)

    def _experience(self) -> Experience:
        collector = self.config.collector
        if collector.mode == "fused":
            return FusedExperience(self.policy)
        return ReplayExperience(
            self.policy,
            minibatch_size=collector.minibatch_size,
            epochs=collector.epochs,
            prepare=self._prepare,
        )

    def _prepare(self, trajectories: TensorDictBase) -> None:
        for _, loss in self.learner.losses:
            loss.prepare(trajectories)

    @property
    def updates(self) -> int:
        """Optimizer steps so far."""
        return self.learner.updates

    @property
    def budget_share(self) -> float:
        """How much of the budget is spent, 1 and more if training is over."""
        budget = self.config.budget
        spent = (
            (self.updates, budget.updates),
            (self.ledger.train_passes, budget.passes),
            (self.train_seconds, budget.seconds),
        )
        return max(used / limit for used, limit in spent if limit is not None)

    @property
    def budget_spent(self) -> bool:
        """Whether training is over."""
        return self.budget_share >= 1.0

    @contextmanager
    def training_clock(self) -> Iterator[None]:
        """Count the time inside the block as training time."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.train_seconds += time.perf_counter() - started

    @property
    def puzzles_seen(self) -> int:
        """Training puzzles begun so far: those finished and those in work."""
        return int(self._finished_puzzles) + self.config.collector.num_envs

    def collect(self) -> Iterator[TensorDictBase]:
        """Batches `[num_envs, steps]` of recursion steps, for ever; each continues where the one before ended."""
        settings = self.config.collector
        steps = 1 if settings.mode == "fused" else settings.steps_per_batch
        collector = Collector(
            self.environment.torchrl,
            self.policy,
            frames_per_batch=steps * settings.num_envs,
            total_frames=-1,
            # Fresh tensors every batch: shared buffers would need a first, uncollected call of the policy.
            use_buffers=False,
            track_traj_ids=False,
            return_same_td=True,
            auto_register_policy_transforms=False,
        )
        batches = iter(collector)
        while True:
            with self.ledger.phase("collect"):
                batch = next(batches)
            self._finished_puzzles += batch["next", "done"].sum()
            yield batch

    def learn(self, batch: TensorDictBase) -> dict[str, torch.Tensor]:
        """Learn from a collected batch; returns the metrics of its last update."""
        metrics: dict[str, torch.Tensor] = {}
        # Before the network changes: the decisions were taken on what it was.
        halting = self.concurrent_halting.observe(batch) if self.concurrent_halting is not None else {}
        with self.ledger.phase("update"):
            for steps in self.experience(batch):
                metrics = self.learner.update(steps)
        return {**metrics, **halting}

    def evaluate(self, puzzles: int | None = None) -> Evaluation:
        """Measure the averaged weights on the first `puzzles` test puzzles (all of them if None), and remember it."""
        found = evaluate(
            self.learner.averaged_reasoner,
            self.puzzle,
            self.test_instances[:puzzles],
            max_steps=self.config.env.max_steps,
            batch_size=self.config.evaluation.batch_size,
            ledger=self.ledger,
            halting=LearnedHalt(self.halting) if self.halting is not None else None,
        )
        self.history.append(
            Milestone(
                updates=self.learner.updates,
                train_seconds=self.train_seconds,
                train_passes=self.ledger.train_passes,
                exact_accuracy=found.exact_accuracy,
                solved_rate=found.solved_rate,
                cell_accuracy=found.cell_accuracy,
                accuracy_by_step=found.accuracy_by_step,
                solved_by_step=found.solved_by_step,
                passes_by_step=found.passes_by_step,
                puzzles=found.puzzles,
                seconds=found.seconds,
            )
        )
        return found

    def hold_vote(self) -> None:
        """Let views of ARC's test inputs vote, answered with the averaged weights; nothing for other puzzles."""
        if isinstance(self.puzzle, Arc):
            self.election = elect(
                self.learner.averaged_reasoner,
                self.puzzle,
                views=min(self.config.evaluation.views, self.puzzle.views),
                max_steps=self.config.env.max_steps,
                batch_size=self.config.evaluation.batch_size,
                ledger=self.ledger,
            )

    def save(self, run_dir: Path, mlflow_run_id: str | None) -> Path:
        """Write both checkpoint files; returns the path of the model file."""
        folder = run_dir / "checkpoint"
        checkpoint.save_training(
            folder,
            {
                "puzzle": self.puzzle.name,
                "ids_digest": self.puzzle.ids_digest,
                "learner": self.learner.state_dict(),
                "environment": self.environment.vector.state_dict(),
                "ledger": self.ledger.state_dict(),
                "history": [asdict(milestone) for milestone in self.history],
                "train_seconds": self.train_seconds,
                "finished_puzzles": int(self._finished_puzzles),
                "mlflow_run_id": mlflow_run_id,
                "halting": self.concurrent_halting.state_dict() if self.concurrent_halting is not None else None,
            },
        )
        return checkpoint.save_model(
            folder,
            self.learner.averaged_reasoner,
            self.config,
            self.learner.updates,
            self.puzzle.ids_digest,
            self.halting,
        )

    def restore(self, run_dir: Path) -> str | None:
        """Continue from a run directory's checkpoint, random states included; returns the MLflow run's id."""
        state: dict[str, Any] = checkpoint.load_training(run_dir / "checkpoint", self.device)
        if state["puzzle"] != self.puzzle.name:
            raise UserError(
                f"{run_dir} was trained on {state['puzzle']}, not on {self.puzzle.name}: resume it with its own puzzle"
            )
        if state.get("ids_digest", "") != self.puzzle.ids_digest:
            raise UserError(
                f"{run_dir} learned embeddings of other puzzles than those of {self.puzzle.name} here: resume it "
                "with its own env.options and data"
            )
        try:
            self.learner.load_state_dict(state["learner"])
            self.environment.vector.load_state_dict(state["environment"])
            if self.concurrent_halting is not None:
                self.concurrent_halting.load_state_dict(state["halting"])
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{run_dir} does not fit this configuration: {' '.join(str(error).split())}") from None
        self.ledger.load_state_dict(state["ledger"])
        self.history = [Milestone(**milestone) for milestone in state["history"]]
        self.train_seconds = state["train_seconds"]
        self._finished_puzzles.fill_(state["finished_puzzles"])
        checkpoint.restore_random_states(state["random"])
        return state["mlflow_run_id"]
