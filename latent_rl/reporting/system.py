"""How busy the machine is, for MLflow's "System metrics": read by MLflow's own monitors, sent with everything else.

MLflow's thread for them asks the store every few seconds whether the run still goes on, and its end waits for that
thread: a store that hangs would hold the program up.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.entities import Run

logger = logging.getLogger(__name__)

EVERY_SECONDS = 10.0
"""Between two readings, as MLflow has it."""


class SystemMetrics:
    """Reads processor, memory, disk, network and, where there is one, the GPU, from time to time.

    Args:
        run_id: of the MLflow run.
        uri: of its store, which is not asked for anything.
        first: number of the first reading.
    """

    def __init__(self, run_id: str, uri: str, first: int = 0) -> None:
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        self._monitor = SystemMetricsMonitor(run_id, tracking_uri=uri)
        self._monitor.collect_metrics()  # the first reading of a processor says nothing: it is of no time at all
        self._clear()
        self._last = time.monotonic()
        self._number = first

    def read(self) -> tuple[dict[str, float], int]:
        """Metrics by name, `system/…`, and the number of the reading; none if the last one is not long ago."""
        if time.monotonic() - self._last < EVERY_SECONDS:
            return {}, self._number
        self._last, number, self._number = time.monotonic(), self._number, self._number + 1
        try:
            self._monitor.collect_metrics()
        except Exception as error:  # no reason to end a run
            logger.debug("no reading", exc_info=error)
        found = {f"system/{name}": value for name, value in self._monitor.aggregate_metrics().items()}
        self._clear()
        return found, number

    def _clear(self) -> None:
        for monitor in self._monitor.monitors:
            monitor.clear_metrics()


def read_from_now_on(run: Run, uri: str) -> SystemMetrics | None:
    """Readings for an MLflow run, numbered after those that it has; None where the machine cannot be read."""
    steps = [metric.step for metric in run.data._metric_objs if metric.key.startswith("system/")]
    try:
        return SystemMetrics(run.info.run_id, uri, max(steps, default=-1) + 1)
    except Exception as error:  # of whatever a container hides
        logger.debug("no system metrics", exc_info=error)
        return None
