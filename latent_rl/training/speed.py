"""How fast a network computes here: the fastest of its precisions, compiled or not, found by measuring.

`precision=auto` and `compile=auto` are settled before anything is trained, and a run keeps what they were settled to.
A machine is asked once for a network and batch; the answer lies in the folder of the cache.
"""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import torch

from latent_rl.agents import RecursiveReasoner, example_inputs
from latent_rl.config import Config
from latent_rl.envs import Puzzle, cache_folder
from latent_rl.errors import UserError, first_line
from latent_rl.storage import write_text
from latent_rl.training.pace import wait_for
from latent_rl.training.parts import accelerate, build_reasoner

logger = logging.getLogger(__name__)

MEASURED_SECONDS = 1.0
"""Of measuring each choice, beside its warm-up."""

WORTHWHILE = 0.9
"""Share of the plain network's time that another choice may take at most: noise is no reason to leave float32."""

LONG_SECONDS = 600.0
"""Training for which `compile=auto` tries to compile at all: trying takes up to a minute, too much for a short one."""

AUTO = "auto"


def settle(config: Config, puzzle: Puzzle, device: torch.device, processes: int = 1) -> tuple[Config, list[str]]:
    """A configuration in which `precision` and `compile` are no longer `auto`, and lines that say why.

    Measuring leaves torch's random numbers as they were.

    Args:
        config: of the run, with the rows of one process.
        puzzle: says how large a batch is.
        device: where it will run.
        processes: how many train together, each with as many rows.
    """
    if AUTO not in (config.precision, config.compile):
        return config, []
    file = _file(config, puzzle, device)
    known = _read(file)

    def took(precision: str, compiled: bool) -> float | None:
        name = _name(precision, compiled)
        if name not in known:
            try:
                known[name] = _milliseconds(config, puzzle, device, precision, compiled)
            except RuntimeError as error:  # of a compiler, or of a device that lacks an operation
                logger.debug("%s does not run here", name, exc_info=error)
                return None
        return known[name]

    precisions = ("float32", "bfloat16") if config.precision == AUTO else (config.precision,)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        compiles = (config.compile,)
        if config.compile == AUTO:
            compiles = (False, True) if _is_long(config, took(precisions[0], False), processes) else (False,)
        found = {choice: took(*choice) for choice in product(precisions, compiles)}
    _write(file, known)
    ran = {choice: milliseconds for choice, milliseconds in found.items() if milliseconds is not None}
    first = (precisions[0], compiles[0])
    best = min(ran, key=ran.__getitem__, default=first)
    if first in ran and ran[best] > WORTHWHILE * ran[first]:
        best = first
    lines = [f"{_name(*choice)} does not run on this machine: done without" for choice in found if choice not in ran]
    times = ", ".join(f"{_name(*choice)} {milliseconds:.1f} ms" for choice, milliseconds in ran.items())
    asked = " ".join(f"{key}=auto" for key in ("precision", "compile") if getattr(config, key) == AUTO)
    lines.append(f"{asked}: {_name(*best)} (a step and its gradient: {times})")
    return config.model_copy(update={"precision": best[0], "compile": best[1]}), lines


@contextmanager
def exactly() -> Iterator[None]:
    """Inside the block float32 products on CUDA are those of float32, not of TF32, as wherever a model is used."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def warm_up(reasoner: RecursiveReasoner, config: Config) -> None:
    """Take a step and its gradient on made-up puzzles in the batch of training, so that no update waits for a compiler.

    Weights, gradients and random numbers stay as they are. Call it before a ledger watches.

    Raises:
        UserError: if the network cannot be compiled here.
    """
    sizes = {config.collector.num_envs}
    if config.collector.mode == "replay":
        collected = config.collector.num_envs * config.collector.steps_per_batch
        sizes.add(min(config.collector.minibatch_size, collected))
    try:
        for rows in sorted(sizes):
            with torch.no_grad():
                _step(reasoner, rows)
            _step_and_gradient(reasoner, rows)
    except RuntimeError as error:
        if not config.compile:
            raise
        reason = first_line(error)
        raise UserError(f"compile=true: the network cannot be compiled here ({reason}); leave it out") from None


def _milliseconds(config: Config, puzzle: Puzzle, device: torch.device, precision: str, compiled: bool) -> float:
    """Median time of a step and its gradient."""
    settled = config.model_copy(update={"precision": precision, "compile": compiled})
    reasoner = build_reasoner(settled, puzzle, device)
    accelerate(reasoner, settled)
    rows = config.collector.num_envs
    _step_and_gradient(reasoner, rows)
    times: list[float] = []
    while sum(times) < MEASURED_SECONDS:
        wait_for(device)
        started = time.perf_counter()
        _step_and_gradient(reasoner, rows)
        wait_for(device)
        times.append(time.perf_counter() - started)
    return 1e3 * statistics.median(times)


def _step(reasoner: RecursiveReasoner, rows: int) -> Any:
    """A step of made-up puzzles, of either kind of reasoner."""
    return reasoner.step(*example_inputs(reasoner, rows))


def _step_and_gradient(reasoner: RecursiveReasoner, rows: int) -> None:
    with torch.enable_grad():
        sum(readout.sum() for readout in _step(reasoner, rows).readouts.values()).backward()
    reasoner.zero_grad(set_to_none=True)
    if reasoner.embed_puzzle is not None:
        reasoner.embed_puzzle.drop_gradients()


def _is_long(config: Config, milliseconds: float | None, processes: int) -> bool:
    """Whether a training is long enough to try to compile, by the time of an update."""
    budget, network = config.budget, config.network
    step = network.inner_updates if config.env.state == "candidates" else network.cycles * (network.inner_updates + 1)
    passes = processes * config.collector.num_envs * step
    limits = (
        budget.seconds,
        budget.updates and budget.updates * (milliseconds or 0.0) / 1e3,
        budget.passes and budget.passes / passes * (milliseconds or 0.0) / 1e3,
    )
    return min(limit for limit in limits if limit is not None) >= LONG_SECONDS


def _name(precision: str, compiled: bool) -> str:
    return f"{precision} compiled" if compiled else precision


def _file(config: Config, puzzle: Puzzle, device: torch.device) -> Path:
    """Where the answer for this machine, network and batch is kept."""
    processor = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    described = {
        "processor": processor,
        "device": device.type,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "network": config.network.model_dump(mode="json"),
        "state": config.env.state,
        "puzzle": [puzzle.vocab_size, puzzle.seq_len],
        "rows": config.collector.num_envs,
        "products": torch.get_float32_matmul_precision(),
    }
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]
    return cache_folder(config.env.options.get("cache_dir")) / f"speed-{digest}.json"


def _processor() -> str:
    return f"{platform.node()} {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def _read(file: Path) -> dict[str, float]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    right = isinstance(found, dict) and all(isinstance(value, float) for value in found.values())
    return found if right else {}


def _write(file: Path, known: dict[str, float]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(known))
    except (OSError, UserError) as error:
        logger.warning("%s cannot be written (%s): the next run measures again", file, error)
