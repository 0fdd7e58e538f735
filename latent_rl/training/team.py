"""Data parallel under `torchrun`: how processes find each other, and what they agree on while they train."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from latent_rl.agents import ALONE, Team
from latent_rl.config import Config
from latent_rl.errors import UserError, first_line

PATIENCE = timedelta(hours=12)
"""How long a process waits for another, which may be measuring or writing; one that has died is noticed at once."""


def world_size() -> int:
    """Processes that `torchrun` has started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_rank() -> int:
    """Which of the processes on this machine this is."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def processes_here() -> int:
    """Processes that `torchrun` has started on this machine; 1 without it."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


@contextmanager
def join() -> Iterator[Team]:
    """The team that `torchrun` has started this process in, inside the block; without it, or with one, a team of one.

    Small things are told over gloo, on the CPU; what lies on CUDA devices goes over NCCL.

    Raises:
        UserError: the processes do not find each other, or one that is waited for has ended.
    """
    if world_size() == 1:
        yield ALONE
        return
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
    except (dist.DistError, RuntimeError) as error:
        raise UserError(f"the processes of the team do not find each other: {first_line(error)}") from None
    together = not torch.cuda.is_available()
    try:
        yield Team(dist.get_rank(), dist.get_world_size())
        together = True
    except KeyboardInterrupt:
        together = True  # agreed on
        raise
    except (dist.DistError, RuntimeError) as error:
        # Gloo raises plain runtime errors, which name its own source and say no more than that.
        if isinstance(error, dist.DistError):
            raise UserError(f"another process of the team has ended, or is not reached: {first_line(error)}") from None
        if "gloo" not in str(error):
            raise
        raise UserError("another process of the team has ended") from None
    finally:
        # NCCL takes leave of all others: who leaves alone, by a mistake, would wait for them, and they for it. It is
        # enough that the process ends, which `torchrun` notices.
        if together and dist.is_initialized():
            dist.destroy_process_group()


@contextmanager
def one_after_the_other(team: Team) -> Iterator[None]:
    """Let the first process of every machine do the block first, for what is cached: the others find it done."""
    if team.world_size > 1 and local_rank() > 0:
        dist.barrier()
    yield
    if team.world_size > 1 and local_rank() == 0:
        dist.barrier()


def share_of(config: Config, team: Team) -> Config:
    """The configuration with this process's share of rows and of minibatches.

    Raises:
        UserError: they cannot be shared equally.
    """
    collector, size = config.collector, team.world_size
    if size == 1:
        return config
    shared = {"num_envs": collector.num_envs}
    if collector.mode == "replay":
        shared["minibatch_size"] = collector.minibatch_size
    for key, value in shared.items():
        if value % size:
            raise UserError(f"collector.{key}={value} cannot be shared equally by {size} processes")
    shares = {key: value // size for key, value in shared.items()}
    return config.model_copy(update={"collector": collector.model_copy(update=shares)})
