"""From a configuration to the objects that it describes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor

from latent_rl.agents import (
    ALONE,
    LOSSES,
    AnswerMemory,
    AnswerPolicy,
    CandidateReasoner,
    Deduction,
    DeductionPolicy,
    HaltingLearner,
    HaltingPolicy,
    ReasonerConfig,
    RecursionLoss,
    RecursionPolicy,
    RecursiveReasoner,
    StepGraph,
    Team,
    loss_class,
    make_reasoner,
    make_rule,
)
from latent_rl.config import Config, rule_context
from latent_rl.envs import (
    BatchEnv,
    CandidateConfig,
    CandidateVectorEnv,
    LatentRecursionVectorEnv,
    MDPConfig,
    Puzzle,
    Reward,
    possible_symbols,
    puzzle_from_id,
)
from latent_rl.errors import UserError, first_line
from latent_rl.training.team import local_rank, processes_here, world_size
from latent_rl.training.torchrl_env import LatentRecursionTorchEnv

logger = logging.getLogger(__name__)


def choose_device(name: str) -> torch.device:
    """The device that a configuration names; `auto` takes CUDA, then MPS, then the CPU.

    Of several processes on a machine each has a CUDA device of its own, or all have the CPU.

    Raises:
        UserError: there is no such device, or a team cannot share it.
    """
    if name in ("auto", "cuda") and world_size() > 1 and torch.cuda.is_available():
        # Said by all of them alike, also by those that would have one.
        if processes_here() > (devices := torch.cuda.device_count()):
            raise UserError(
                f"device {name!r}: {processes_here()} processes on a machine with {devices} CUDA devices; start as "
                f"many as there are (--nproc-per-node {devices}), or say device=cpu"
            )
        name = f"cuda:{local_rank()}"
    elif world_size() > 1 and name == "auto":
        name = "cpu"
    elif world_size() > 1 and name not in ("cpu", "cuda"):
        raise UserError(
            f"device {name!r}: several processes train on device=cuda, where each has its own, or device=cpu"
        )
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        there = torch.empty(1, device=torch.device(name))
        there.item()  # which `meta` cannot give
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"device {name!r} is not available here: {first_line(error)}") from None
    # With its number, as tensors name it: where the two differ, tensordict takes it for a transfer and waits.
    return there.device


def build_puzzle(config: Config) -> Puzzle:
    """The puzzle, its data not yet loaded."""
    return puzzle_from_id(config.env.id, **config.env.options)


def build_reasoner(config: Config, puzzle: Puzzle, device: torch.device) -> RecursiveReasoner:
    """A freshly initialised reasoner of the right shape for the puzzle."""
    network = config.network
    possible = None
    if config.env.state == "candidates":
        if puzzle.vote is not None:
            raise UserError(
                f"env.state=candidates: {puzzle.name} has votes on its answers, which deduction does not take"
            )
        possible = possible_symbols(puzzle)
    declared = _declared(puzzle, possible) if network.mixer == "units" and possible is not None else {}
    try:
        reasoner = make_reasoner(
            ReasonerConfig(
                vocab_size=puzzle.vocab_size,
                seq_len=puzzle.seq_len,
                grid_shape=puzzle.grid_shape if network.kernel else None,
                # A family without embeddings has the id 0 everywhere, which needs a row if there is a table at all.
                num_puzzle_ids=max(puzzle.num_puzzle_ids, 1 if network.puzzle_embedding_width else 0),
                step_embedding_steps=config.env.max_steps if network.step_embedding else 0,
                state=config.env.state,
                **network.model_dump(exclude={"step_embedding"}),
                **declared,
            )
        )
    except ValueError as error:
        raise UserError(f"network: {error}") from None
    if isinstance(reasoner, CandidateReasoner):
        reasoner.possible.copy_(possible)
    return reasoner.to(device)


def _declared(puzzle: Puzzle, possible: Tensor) -> dict[str, tuple]:
    """What `network.mixer=units` reads of a puzzle: its declarations, and the tokens that cells can come to hold."""
    given = puzzle.instances("train").inputs.flatten().bincount(minlength=puzzle.vocab_size) > 0
    return {
        "units": puzzle.units,
        "interchangeable": puzzle.interchangeable,
        "symbols": tuple(possible[given].any(0).nonzero().flatten().tolist()),
    }


def accelerate(reasoner: RecursiveReasoner, config: Config, *, insist: bool = True) -> None:
    """Apply the switches that change speed, not meaning: precision and compilation.

    Args:
        reasoner: is changed.
        config: says how.
        insist: a network that cannot be compiled here ends in an error when it is first used; otherwise it goes on
            without, and warns. A model that was compiled where it was trained need not be where it is used.

    Raises:
        UserError: if they are `auto`, which only the start of a training settles.
    """
    for key in ("precision", "compile"):
        if getattr(config, key) == "auto":
            raise UserError(f"{key}=auto is settled when a training starts: say which one here")
    if config.precision == "bfloat16":
        reasoner.compute_dtype = torch.bfloat16
    if config.compile:
        # The forward is compiled, not the module: hooks stay outside of the graph, so the ledger counts every call,
        # and the names of the weights stay as they are.
        plain = reasoner.network.forward
        reasoner.network.forward = torch.compile(plain) if insist else _compiled_or_plain(reasoner, plain)


def _compiled_or_plain(reasoner: RecursiveReasoner, plain: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A network's forward that is compiled when it is first called; if that fails, the plain one takes its place."""
    compiled = cache(lambda: torch.compile(plain))

    def forward(*arguments: Tensor) -> Tensor:
        try:
            return compiled()(*arguments)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            found = plain(*arguments)  # what is wrong with more than the compiler fails here, too
            logger.warning("the network cannot be compiled here (%s): goes on without", first_line(error)[:200])
            reasoner.network.forward = plain
            return found

    return forward


def build_halting_policy(config: Config, reasoner: RecursiveReasoner) -> HaltingPolicy:
    """A fresh halting policy for a reasoner, on its device."""
    settings = config.halting.ppo
    policy = HaltingPolicy(reasoner.config.width, hidden=settings.hidden, floor=settings.floor)
    return policy.to(reasoner.initial_y.device)


def build_halting_learner(config: Config, policy: HaltingPolicy) -> HaltingLearner:
    """What improves a halting policy."""
    settings = config.halting.ppo
    return HaltingLearner(
        policy,
        lr=settings.lr,
        clip=settings.clip,
        entropy=settings.entropy,
        lmbda=settings.lmbda,
        epochs=settings.epochs,
        minibatch=settings.minibatch,
    )


def build_policy(
    config: Config,
    puzzle: Puzzle,
    reasoner: RecursiveReasoner,
    halting_policy: HaltingPolicy | None = None,
    answers: AnswerPolicy | None = None,
    graph: StepGraph | None = None,
) -> RecursionPolicy | DeductionPolicy:
    """The policy that collects training trajectories; `halting.rule=learned` needs its halting policy.

    Raises:
        UserError: if there is no such rule, or it cannot be made from these options.
    """
    if isinstance(reasoner, CandidateReasoner):
        return DeductionPolicy(reasoner, build_deduction(config), graph=graph)
    context = rule_context(config, puzzle, halting_policy)
    try:
        rule = make_rule(config.halting.rule, context, **config.halting.options)
    except (TypeError, ValueError) as error:
        raise UserError(f"halting.rule={config.halting.rule}: {error}") from None
    return RecursionPolicy(reasoner, rule, answers=answers, graph=graph)


def build_deduction(config: Config) -> Deduction:
    """How a step over candidates reads its logits."""
    return Deduction(**config.deduction.model_dump())


def build_answers(config: Config, puzzle: Puzzle) -> AnswerPolicy | None:
    """The distribution that training samples answers from; None if it takes the likeliest.

    Raises:
        UserError: if there is no rule to judge them by.
    """
    if config.answers.group is None:
        return None
    if not puzzle.has_rule:
        raise UserError(f"answers.group: {puzzle.name} has no rule of its own to judge sampled answers by")
    return AnswerPolicy(puzzle.free_cells, **config.answers.model_dump(exclude={"memory"}))


def build_memory(config: Config, puzzle: Puzzle, device: torch.device) -> AnswerMemory | None:
    """What remembers the best answers that were sampled; None if nothing does."""
    if config.answers.group is None or not config.answers.memory:
        return None
    return AnswerMemory(config.answers.memory, puzzle.seq_len, device)


def build_losses(
    config: Config, reasoner: RecursiveReasoner, answers: AnswerPolicy | None = None
) -> tuple[dict[str, RecursionLoss], dict[str, float]]:
    """The losses of `loss.terms` and their weights, by name, in the order in which they are summed.

    That is the order of `LOSSES`, then plug-ins as they were named: which file set a term first must not change how a
    sum is rounded.

    Raises:
        UserError: if two losses report under one key.
    """
    rank = {name: place for place, name in enumerate(LOSSES)}
    names = sorted(config.loss.terms, key=lambda name: rank.get(name, len(rank)))
    losses: dict[str, RecursionLoss] = {}
    reported: dict[str, str] = {}
    for name in names:
        term = config.loss.terms[name]
        if term is None:
            continue
        losses[name] = loss_class(name).from_reasoner(
            reasoner, max_steps=config.env.max_steps, answers=answers, **term.options
        )
        for key in losses[name].out_keys:
            if key in reported:
                raise UserError(f"loss.terms: {reported[key]} and {name} both report {key!r}")
            reported[key] = name
    return losses, {name: config.loss.weight(name) for name in losses}


def build_reward(config: Config) -> Reward:
    """What a recursion step is worth."""
    return Reward(**config.env.reward.model_dump())


def build_environment(
    config: Config, puzzle: Puzzle, reasoner: RecursiveReasoner, team: Team = ALONE
) -> LatentRecursionTorchEnv:
    """The vectorised training environment over the puzzle's training split, with this process's rows."""
    vector = environment_maker(config, puzzle, reasoner)(num_envs=config.collector.num_envs)
    vector.team = team if team.world_size > 1 else None
    return LatentRecursionTorchEnv(vector)


def environment_maker(config: Config, puzzle: Puzzle, reasoner: RecursiveReasoner) -> Callable[..., BatchEnv]:
    """What makes the vector environment over the puzzle's training split, given `num_envs`."""
    env, shared = config.env, {"max_steps": config.env.max_steps, "reward": build_reward(config)}
    where = {"split": "train", "device": reasoner.initial_y.device}
    if isinstance(reasoner, CandidateReasoner):
        candidates = CandidateConfig.of_reasoner(
            reasoner, lost_steps=env.lost_steps, guided_branches=env.guided_branches, **shared
        )
        return partial(CandidateVectorEnv, puzzle, config=candidates, **where)
    mdp = MDPConfig.of_reasoner(reasoner, terminate_on_solved=env.terminate_on_solved, **shared)
    return partial(LatentRecursionVectorEnv, puzzle, config=mdp, **where)
