"""Collecting in processes that Ray starts, on this machine or on a cluster: TorchRL's `RayCollector`."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from tensordict import TensorDictBase
from torchrl.collectors import BaseCollector, Collector

from latent_rl.errors import UserError, first_line
from latent_rl.training.workers import WorkerCollection, WorkerEnvironment, leave_signals


class RayWorker(Collector):
    """What collects in a process of Ray's, in the way of TorchRL's own processes: the same steps, bit for bit."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        leave_signals()
        torch.set_num_threads(1)
        super().__init__(*args, **kwargs)
        # PyTorch multiplies in another order, and rounds otherwise, where a matrix requires a gradient.
        self.policy.requires_grad_(False)


class RayCollection(WorkerCollection):
    """What `WorkerCollection` is, by Ray's actors: the same batches, bit for bit.

    Ray is started on this machine, and ended by `close`; with `RAY_ADDRESS` in the environment, the cluster there is
    joined. Nothing of Ray's own goes to the terminal.

    Args: those of `WorkerCollection`.

    Raises:
        UserError: if there is no cluster at `RAY_ADDRESS`, or it has fewer CPUs than there are workers.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._started = _start_ray(self._config.workers)

    def __next__(self) -> TensorDictBase:
        from ray.exceptions import RayActorError

        try:
            return super().__next__()
        except RayActorError as error:
            raise UserError(
                f"collector.backend=ray: a worker is gone ({first_line(error)}); what was saved before stays, and goes "
                "on with --resume"
            ) from None

    def close(self) -> None:
        """End the actors, and Ray if it was started here."""
        import ray

        super().close()
        if self._started:
            ray.shutdown()

    def _start(self, environments: list[Callable[[], WorkerEnvironment]]) -> BaseCollector:
        from torchrl.collectors.distributed import RayCollector

        if "RAY_ADDRESS" not in os.environ:
            # As `MultiSyncCollector` has it, the learner keeps the threads that the workers leave.
            torch.set_num_threads(max(1, torch.get_num_threads() - self._config.workers))
        collector = RayCollector(
            environments,
            self._policy,
            frames_per_batch=self._config.num_envs * self._config.steps_per_batch,
            # Its default, -1, is said to be no end and is one at once.
            total_frames=sys.maxsize,
            sync=True,
            device="cpu",
            collector_class=RayWorker,
            collector_kwargs={"use_buffers": False, "auto_register_policy_transforms": False},
            # By default it also reserves 2 GB and, where there is one, a part of a GPU for each.
            remote_configs={"num_cpus": 1},
        )
        # They have the policy as it is now; but without a first sending it warns that they may have none.
        collector.update_policy_weights_()
        return collector


def require_ray() -> None:
    """Raise, with what to do about it, if the package is not installed.

    Raises:
        UserError: if so.
    """
    try:
        # Not `import ray`, which any folder of that name would do for.
        from ray import is_initialized  # noqa: F401
    except ImportError:
        raise UserError(
            "collector.backend=ray needs a package that is not installed: in the folder of latent_rl, "
            "pip install -c constraints.txt -e '.[ray]'"
        ) from None


def _start_ray(workers: int) -> bool:
    """Start Ray here, or join the cluster at `RAY_ADDRESS`; whether that is to be undone by who called."""
    import ray
    from ray.exceptions import AuthenticationError

    if ray.is_initialized():
        return False
    address = os.environ.get("RAY_ADDRESS", "local")
    own: dict[str, Any] = {}
    if address == "local":
        # Whoever trains has not agreed to tell others of it.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        own = {"num_cpus": workers, "include_dashboard": False}
    if not _answers(address):
        raise UserError(f"collector.backend=ray: there is no cluster at RAY_ADDRESS={address}")
    # Else it announces, at every start of a worker without a GPU, how a later version will treat these.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    with _signals_kept():
        try:
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **own)
        except (ConnectionError, AuthenticationError):
            raise UserError(
                f"collector.backend=ray: RAY_ADDRESS={address} lets nobody in; if that cluster asks for a token, "
                "RAY_AUTH_MODE=token has to be set here, too"
            ) from None
    available = int(ray.cluster_resources().get("CPU", 0))
    if available < workers:
        ray.shutdown()
        raise UserError(
            f"collector.workers={workers}: each takes a CPU, and the cluster at RAY_ADDRESS={address} has {available}"
        )
    return True


def _answers(address: str) -> bool:
    """Whether anybody listens at `HOST:PORT`, of which Ray itself would make sure for minutes; other forms pass."""
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()):
        return True
    try:
        socket.create_connection((host.rpartition("/")[2].strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError):
        return False
    return True


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray takes over SIGTERM, and a hang-up of the terminal would end what it starts before the run is saved."""
    handler, hang_up = signal.getsignal(signal.SIGTERM), getattr(signal, "SIGHUP", None)
    if hang_up is not None:
        # Held back, not ignored: what it starts inherits that for good, and here it comes afterwards.
        signal.pthread_sigmask(signal.SIG_BLOCK, {hang_up})
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
        if hang_up is not None:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {hang_up})
