"""A training run: its parts, put together from a configuration, each with a state of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torchrl.objectives import LossModule

from latent_rl.agents import (
    ALONE,
    AnswerMemory,
    DeductionPolicy,
    GroupJudge,
    RecursionPolicy,
    RecursiveReasoner,
    StepGraph,
    Team,
)
from latent_rl.config import Config
from latent_rl.envs import Puzzle
from latent_rl.errors import UserError
from latent_rl.measuring import Ledger
from latent_rl.storage import History, Spent, load_weights
from latent_rl.training.captured import CapturedUpdate
from latent_rl.training.collection import Collection
from latent_rl.training.experience import Experience, FusedExperience, ReplayExperience
from latent_rl.training.halting import ConcurrentHalting, NoHalting
from latent_rl.training.learner import Learner
from latent_rl.training.pace import Clock, Interruption
from latent_rl.training.parts import (
    accelerate,
    build_answers,
    build_environment,
    build_halting_learner,
    build_halting_policy,
    build_losses,
    build_memory,
    build_policy,
    build_puzzle,
    build_reasoner,
    build_reward,
    choose_device,
    environment_maker,
)
from latent_rl.training.ray_workers import RayCollection, require_ray
from latent_rl.training.speed import settle, warm_up
from latent_rl.training.team import one_after_the_other, share_of
from latent_rl.training.workers import WorkerCollection


class Stateful(Protocol):
    """What a checkpoint can hold."""

    def state_dict(self) -> Mapping[str, Any]:
        """What `load_state_dict` needs to go on from here."""

    def load_state_dict(self, state: Mapping[str, Any]) -> object:
        """Go on from what `state_dict` gave."""


@dataclass(frozen=True)
class Run:
    """The parts of a training run.

    Attributes:
        config: describes all of it.
        puzzle: what is solved.
        reasoner: the network that learns; `learner.averaged_reasoner` is the one that is evaluated and saved.
        policy: takes recursion steps with it.
        collection: batches of these steps, without end.
        experience: what an update learns from, made of a batch.
        losses: what an update minimises, by name.
        loss_weights: how much each loss counts.
        learner: gradient, optimizer and averaged weights.
        halting: learns when to stop, or does nothing.
        captured: takes the place of collecting and updating, where both are one fixed program.
        memory: of the best sampled answers, if they are remembered.
        ledger: counts the network passes.
        clock: counts the seconds of training.
        history: the evaluations so far.
        notes: what was settled when it was put together, in lines for people.
        team: the processes that train together; each has parts of its own with its share of the rows.
    """

    config: Config
    puzzle: Puzzle
    reasoner: RecursiveReasoner
    policy: RecursionPolicy | DeductionPolicy
    collection: Collection | WorkerCollection
    experience: Experience
    losses: dict[str, LossModule]
    loss_weights: dict[str, float]
    learner: Learner
    halting: ConcurrentHalting | NoHalting
    memory: AnswerMemory | None
    ledger: Ledger
    clock: Clock
    history: History
    notes: tuple[str, ...] = ()
    captured: CapturedUpdate | None = None
    team: Team = ALONE

    def share_counts(self, interruption: Interruption | None = None) -> None:
        """Agree in the team on passes and seconds spent, and on whether to stop: if anyone is told to, all do."""
        if self.team.world_size == 1:
            return
        told = interruption is not None and interruption.told
        seconds, stops = self.ledger.share(self.team, self.clock.seconds if self.team.is_first else 0.0, float(told))
        self.clock.seconds = seconds
        if interruption is not None:
            interruption.agreed = stops > 0

    @property
    def device(self) -> torch.device:
        """Where everything is kept and computed."""
        return self.reasoner.initial_y.device

    @property
    def budget_share(self) -> float:
        """How much of the budget is spent, 1 and more if training is over."""
        budget = self.config.budget
        limits = (
            (self.learner.updates, budget.updates),
            (self.ledger.train_passes, budget.passes),
            (self.clock.seconds, budget.seconds),
        )
        return max(used / limit for used, limit in limits if limit is not None)

    @property
    def spent(self) -> Spent:
        """What training has cost so far; counting the puzzles waits for the device."""
        puzzles = self.collection.puzzles_begun
        ledger = self.ledger
        return Spent(self.learner.updates, self.clock.seconds, ledger.train_passes, puzzles, ledger.gradient_passes)

    @property
    def parts(self) -> dict[str, Stateful]:
        """What a checkpoint is the sum of, by name."""
        return {
            "learner": self.learner,
            "collection": self.collection,
            "halting": self.halting,
            "ledger": self.ledger,
            "clock": self.clock,
            "history": self.history,
            **({} if self.memory is None else {"memory": self.memory}),
        }


def assemble(config: Config, init: Path | None = None, team: Team = ALONE) -> Run:
    """Everything that a configuration describes, seeded, nothing trained yet.

    Args:
        config: of the run.
        init: a checkpoint of ours or of the official code, whose weights the network starts with.
        team: trains together; all of it calls this.

    Raises:
        UserError, PuzzleError: if the configuration, the data or the checkpoint do not fit.
    """
    if config.collector.backend == "ray":
        require_ray()
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    share = share_of(config, team)
    puzzle = build_puzzle(config)
    with one_after_the_other(team):  # which makes the puzzles, if they are not there yet
        # What is needed in the end is missed at once.
        puzzle.instances("test")
        if puzzle.has_validation:
            puzzle.instances("validation")
        puzzle.instances("train")
    device = choose_device(config.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        # Training alone: factors of float32 products are rounded to TF32. What is measured is so in float32: `exactly`.
        torch.set_float32_matmul_precision("high")
    settled, notes = team.of_first(settle(share, puzzle, device, team.world_size) if team.is_first else None)
    speed = {"precision": settled.precision, "compile": settled.compile}
    config, share = config.model_copy(update=speed), share.model_copy(update=speed)
    _check_workers(config, device, team)
    reasoner = build_reasoner(config, puzzle, device)
    if init is not None:
        # Before anything is made from the reasoner: its average, and the environment's initial latents.
        notes += _read_otherwise(config, load_weights(reasoner, init))
    halting_policy = build_halting_policy(config, reasoner) if config.halting.rule == "learned" else None
    graph = StepGraph() if config.collector.mode != "replay" else None
    answers = build_answers(config, puzzle)
    policy = build_policy(config, puzzle, reasoner, halting_policy, answers, graph)
    environment = None
    if not config.collector.workers:
        environment = build_environment(share, puzzle, reasoner, team)
        environment.set_seed(config.seed)
    losses, weights = build_losses(config, reasoner, answers)
    heads = [head for loss in losses.values() for head in loss.heads]
    is_captured = config.collector.mode == "captured" and team.world_size == 1
    if config.collector.mode == "captured" and not is_captured:
        notes = [*notes, "collector.mode=captured: several processes are not recorded, and train as fused does"]
    learner = Learner(reasoner, heads, config.optimizer, team, recorded=is_captured)
    halting: ConcurrentHalting | NoHalting = NoHalting()
    if halting_policy is not None:
        halting = ConcurrentHalting(
            build_halting_learner(config, halting_policy),
            policy.halting,
            steps=config.halting.ppo.steps,
            max_steps=config.env.max_steps,
            team=team,
        )

    memory = build_memory(config, puzzle, reasoner.initial_y.device)
    # After the averaged copy was made, so that both have their own compiled network and their own hook.
    ledger = Ledger()
    if config.compile:
        # Torch keeps eight compiled forms of a piece of code, for all networks, and runs what is more as it is.
        torch.compiler.reset()
    for one in (reasoner, learner.averaged_reasoner):
        accelerate(one, config)
    if config.compile or device.type != "cpu":
        # Before it is counted, and before a clock runs.
        warm_up(reasoner, share)
    for one in (reasoner, learner.averaged_reasoner):
        ledger.watch(one.network)
    if environment is None:
        maker = environment_maker(config, puzzle, reasoner)
        kind = RayCollection if config.collector.backend == "ray" else WorkerCollection
        collection = kind(maker, policy, config.collector, ledger, config.seed)
    else:
        collection = Collection(environment, policy, share.collector, ledger, team)
    experience = _experience(share, policy, puzzle, graph, losses, memory, learner.averaged_reasoner, team)
    captured = None
    if is_captured:
        captured = CapturedUpdate(collection, policy, experience, losses, weights, learner, ledger)
    return Run(
        config=config,
        puzzle=puzzle,
        reasoner=reasoner,
        policy=policy,
        collection=collection,
        experience=experience,
        captured=captured,
        losses=losses,
        loss_weights=weights,
        learner=learner,
        halting=halting,
        memory=memory,
        ledger=ledger,
        clock=Clock(device),
        history=History(),
        notes=tuple(notes),
        team=team,
    )


def _check_workers(config: Config, device: torch.device, team: Team) -> None:
    if not config.collector.workers:
        return
    if team.world_size > 1:
        raise UserError("collector.workers: each process of a team collects by itself: leave out one of the two")
    if device.type != "cpu":
        raise UserError(f"collector.workers collect on the CPU, not on {device.type}: device=cpu")
    if config.compile:
        raise UserError("collector.workers: a compiled network cannot be sent to other processes: compile=false")


def _read_otherwise(config: Config, taught: Config | None) -> list[str]:
    """A line for people if answers are sampled from logits in another way than they were taught in.

    Args:
        config: of the run.
        taught: the run that its first weights come from; None for the official code, which knows stablemax alone.
    """
    term = None if taught is None else taught.loss.terms.get("policy")
    was = "stablemax" if taught is None else None if term is None else term.options.get("cross_entropy")
    now = config.answers.cross_entropy
    if config.answers.group is None or was in (None, now):
        return []
    settings = [f"answers.cross_entropy={was}"]
    if config.loss.weight("policy"):
        settings.append(f"loss.terms.policy.cross_entropy={was}")
    read = f"{' '.join(settings)} reads them as they were"
    return [f"answers are sampled by {now} from logits that were taught with {was}: {read}"]


def _experience(
    config: Config,
    policy: RecursionPolicy,
    puzzle: Puzzle,
    graph: StepGraph | None,
    losses: Mapping[str, LossModule],
    memory: AnswerMemory | None,
    averaged_reasoner: RecursiveReasoner,
    team: Team,
) -> Experience:
    judge = None
    if policy.answers is not None:
        judge = GroupJudge(puzzle.violations, build_reward(config).worth, policy.answers, memory)
    asked = {key for loss in losses.values() for key in loss.in_keys}
    averaged = RecursionPolicy(averaged_reasoner) if "averaged_logits" in asked else None
    if graph is not None:
        return FusedExperience(graph, puzzle, judge, averaged)
    return ReplayExperience(
        policy,
        puzzle,
        minibatch_size=config.collector.minibatch_size,
        epochs=config.collector.epochs,
        prepare=[loss.prepare for loss in losses.values()],
        judge=judge,
        averaged=averaged,
        team=team,
    )
