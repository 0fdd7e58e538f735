"""What a run tells MLflow. MLflow itself is imported when a tracker starts: it takes seconds."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from latent_rl.config import Config, dump, flatten
from latent_rl.errors import UserError
from latent_rl.reporting.mlflow_page import DESCRIPTION_TAG, VIEW_TAG, experiment_tags
from latent_rl.reporting.system import SystemMetrics, read_from_now_on

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Metric

    from latent_rl.envs import Puzzle

SEND_EVERY_SECONDS = 2.0
"""How long a point may wait in memory; sending many together is an order of magnitude cheaper."""

LONGEST_WAIT_SECONDS = 120.0
"""For another program that is just making the database."""

ANSWER_SECONDS = 5
"""How long a server may take to answer, or another program to let go of a database file, before a try has failed."""

HANGING_SECONDS = 3.0
"""A failure that took longer was a store that does not answer: at the end of a run, no other try is made."""

HTTP_CAUSE = re.compile(r"Caused by \w+\(['\"](?:<[^>]*>: )?(.*?)['\"]\)")
"""Where the message of a failed request, after addresses and Python's objects, says what happened."""

PARAMETERS_PER_CALL = 100
LONGEST_PARAMETER = 6000
"""Limits of MLflow's stores."""

logger = logging.getLogger(__name__)


class NullTracker:
    """What a training run reports through; this one keeps nothing, see `Tracker`."""

    run_id: str | None = None
    experiment_id: str | None = None

    def metrics(self, values: Mapping[str, Any], step: int) -> None:
        """Record numbers (or tensors of one element) under names such as `train/loss_policy`, at an update."""

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Keep a copy of a file, in a folder of the run's artifacts if one is given."""

    def describe(self, text: str) -> None:
        """Show a text in Markdown at the head of the run's page."""

    def data(self, puzzle: Puzzle) -> None:
        """Note which puzzles the run uses, each split with its digest."""

    def model(self, checkpoint: Path, puzzle: Puzzle, about: str = "") -> None:
        """Keep a model that `mlflow.pyfunc.load_model("runs:/<run id>/model")` loads and that solves puzzles."""

    def __enter__(self) -> NullTracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the run: finished, killed (after Ctrl-C) or failed (after any other exception)."""


class Tracker(NullTracker):
    """One MLflow run, from `start` to the end of the `with` block.

    Points are sent by a thread of their own, so that training never waits for the store. Losing the store in the
    middle of a run costs a warning, not the run: what could not be sent is tried again and is kept until the end. There
    a store that does not answer is asked once more and no longer, and one line says what it lacks.

    Attributes:
        run_id: MLflow's id of the run.
        experiment_id: MLflow's id of its experiment.
        uri: the tracking store.
    """

    def __init__(
        self, client: MlflowClient, run_id: str, uri: str, experiment_id: str, register: str | None = None
    ) -> None:
        self.run_id: str = run_id
        self.experiment_id: str = experiment_id
        self.uri = uri
        self._register = register
        self._client = client
        self._points: list[Metric] = []
        self._in_flight: list[Metric] = []
        # Not by MLflow's own asynchronous logging (mlflow.utils.async_logging, as of 3.17): a batch that it could not
        # send it logs as an error and forgets, its workers send batches in any order, and its end waits for all of
        # them, however long the store takes.
        self._sender = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mlflow")
        self._sending: Future[None] | None = None
        self._last_sent = time.monotonic()
        self._points_wait = False
        self._hangs = False
        self._lost: list[str] = []
        self._system: SystemMetrics | None = None
        self._reason = ""

    @classmethod
    def start(
        cls, config: Config, resume_run_id: str | None = None, parameters: Mapping[str, Any] | None = None
    ) -> Tracker:
        """Begin an MLflow run, or go on with an earlier one. Inside another tracker's block it is a child of that run.

        Args:
            config: names store, experiment and run.
            resume_run_id: the run to go on with.
            parameters: the run's parameters; the resolved configuration, which is then also kept as a file, if None.

        Raises:
            UserError: if the store cannot be reached or written, or holds no run to resume.
        """
        uri = config.tracking.uri
        _check_sqlite(uri)
        mlflow = _import_mlflow()
        if _database_file(uri) is not None:
            _wait_less_for_sqlite()
        run = None
        try:
            with _alone(uri):
                mlflow.set_tracking_uri(uri)
                if resume_run_id is None:
                    mlflow.set_experiment(config.tracking.experiment)
                name = None if resume_run_id else config.name
                tags = None if resume_run_id else _tags(config, parameters is None)
                # Our own thread sends what MLflow's would: `system.py` says why.
                options = {"nested": True, "log_system_metrics": False}
                run = mlflow.start_run(run_id=resume_run_id, run_name=name, tags=tags, **options)
            client = mlflow.MlflowClient(tracking_uri=uri)
            _furnish(client, run.info.experiment_id)
            values = flatten(config) if parameters is None else parameters
            _log_parameters(client, run.info.run_id, values, known=run.data.params)
            if parameters is None:
                client.log_text(run.info.run_id, dump(config), "config.yaml")
        except Exception as error:
            # MLflow's stores raise whatever their drivers do: MlflowException, SQLAlchemy's, requests', OSError, ...
            if run is not None:
                with suppress(Exception), _hurry():
                    mlflow.end_run("FAILED")
            raise UserError(
                f"MLflow cannot use tracking.uri={uri}: {_first_line(error)} "
                "(tracking.enabled=false trains without MLflow)"
            ) from error
        tracker = cls(client, run.info.run_id, uri, run.info.experiment_id, config.tracking.register_as)
        if parameters is None:
            tracker._system = read_from_now_on(run, uri)
        return tracker

    def metrics(self, values: Mapping[str, Any], step: int) -> None:
        """Take in metrics of a step; they are sent beside training, many at a time."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._points.extend(Metric(name, float(value), now, step) for name, value in values.items())
        if self._system is not None:
            found, number = self._system.read()
            self._points.extend(Metric(name, float(value), now, number) for name, value in found.items())
        if time.monotonic() - self._last_sent >= SEND_EVERY_SECONDS:
            self._collect_unsent()
            if self._sending is None:
                self._send()

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Log a file, into a folder of the artifacts if one is named."""
        self._keep(path.name, lambda: self._client.log_artifact(self.run_id, str(path), folder))

    def describe(self, text: str) -> None:
        """Set the run's description."""
        self._keep("the description", lambda: self._client.set_tag(self.run_id, DESCRIPTION_TAG, text))

    def data(self, puzzle: Puzzle) -> None:
        """Log the splits as datasets, and the puzzle's name as a tag."""
        self._keep("the puzzle's name", lambda: self._client.set_tag(self.run_id, "puzzle", puzzle.name))
        self._keep("the datasets", lambda: self._client.log_inputs(self.run_id, _datasets(puzzle)))

    def model(self, checkpoint: Path, puzzle: Puzzle, about: str = "") -> None:
        """Log the trained model, so that MLflow can load it and solve puzzles; register it if that was asked for."""
        from latent_rl.reporting.mlflow_model import log_model

        self._keep("the model", lambda: log_model(checkpoint, puzzle, self._register, about))

    def __enter__(self) -> Tracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import mlflow

        self._try(lambda: self._collect_unsent(wait=True))
        if self._points and not self._hangs:
            self._send()
            self._try(lambda: self._collect_unsent(wait=True))
        self._sender.shutdown()
        if self._points:
            self._lost.insert(0, "1 point" if len(self._points) == 1 else f"{len(self._points)} points")
        status = "FINISHED" if kind is None else "KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED"
        # Even of a store that hangs: MLflow would try it again when the program ends.
        with _hurry() if self._hangs else nullcontext():
            if not self._try(lambda: mlflow.end_run(status)):
                self._lost.append("the run's status")
        if self._lost:
            lost = ", ".join(self._lost)
            logger.warning("MLflow: %s could not be stored in %s: %s", lost, self.uri, self._reason)

    def _keep(self, what: str, action: Callable[[], object]) -> None:
        """Do something whose failure must not cost the run, unless the store has been found to hang."""
        if self._hangs or not self._try(action):
            self._lost.append(what)

    def _try(self, action: Callable[[], object]) -> bool:
        """Whether it succeeded; a failure is remembered, and whether the store hangs."""
        began = time.monotonic()
        try:
            action()
        except Exception as error:
            self._reason = _first_line(error)
            self._hangs = self._hangs or time.monotonic() - began > HANGING_SECONDS
            return False
        return True

    def _send(self) -> None:
        """Hand all points to the sender's thread, in calls of a size that every store takes."""
        from mlflow.utils.validation import MAX_METRICS_PER_BATCH

        self._in_flight, self._points = self._points, []
        self._last_sent = time.monotonic()
        pieces = [
            self._in_flight[first : first + MAX_METRICS_PER_BATCH]
            for first in range(0, len(self._in_flight), MAX_METRICS_PER_BATCH)
        ]

        def send() -> None:
            for piece in pieces:
                self._client.log_batch(self.run_id, metrics=piece)

        self._sending = self._sender.submit(send)

    def _collect_unsent(self, wait: bool = False) -> None:
        """Look whether the last sending is over; take its points back if it failed (stores ignore duplicates).

        Raises:
            Exception: if `wait` and it failed; otherwise one line is said, once until a sending succeeds.
        """
        if self._sending is None or not (wait or self._sending.done()):
            return
        error = self._sending.exception()
        self._sending = None
        if error is not None:
            self._points = self._in_flight + self._points
            if wait:
                raise error
            if not self._points_wait:
                logger.warning("MLflow: points wait because %s cannot be written: %s", self.uri, _first_line(error))
        self._points_wait = error is not None


def belong_to(run_id: str) -> None:
    """Make every run that is begun in this process from now on a child of a run that another process has begun."""
    global _parent
    _parent = run_id


_parent: str | None = None


def start_tracking(
    config: Config, resume_run_id: str | None = None, parameters: Mapping[str, Any] | None = None
) -> NullTracker:
    """The tracker that a configuration asks for; see `Tracker.start`.

    Nothing but the store is touched, so it may be called before anything is written. A store that is lost inside
    another tracker's block costs a warning: a comparison that has begun goes on without.
    """
    if not config.tracking.enabled:
        return NullTracker()
    try:
        return Tracker.start(config, resume_run_id, parameters)
    except UserError as error:
        mlflow = sys.modules.get("mlflow")
        if _parent is None and (mlflow is None or mlflow.active_run() is None):
            raise
        logger.warning("this run is not tracked: %s", error)
        return NullTracker()


def _tags(config: Config, is_training: bool) -> dict[str, str]:
    """What runs are grouped and filtered by."""
    # Late: torch takes seconds to load.
    from latent_rl.training import choose_device

    tags = {"puzzle": config.env.id, "kind": "training" if is_training else "comparison"}
    tags["device"] = str(choose_device(config.device))
    tags |= {"mlflow.parentRunId": _parent} if _parent is not None else {}
    return {**tags, "scheme": Path(config.scheme).stem} if is_training else tags


def _furnish(client: MlflowClient, experiment_id: str) -> None:
    """Give the experiment's page what it opens with. What people have written there stays."""
    experiment = client.get_experiment(experiment_id)
    for key, value in experiment_tags(experiment.creation_time).items():
        if key not in experiment.tags or (key == VIEW_TAG and experiment.tags[key] != value):
            client.set_experiment_tag(experiment_id, key, value)


def _datasets(puzzle: Puzzle) -> list[DatasetInput]:
    from mlflow.data.numpy_dataset import from_numpy
    from mlflow.entities import DatasetInput, InputTag

    found = []
    for split in ("train", "validation", "test") if puzzle.has_validation else ("train", "test"):
        rows = puzzle.instances(split)
        name = f"{puzzle.name}-{split}"
        dataset = from_numpy(rows.inputs.numpy(), targets=rows.solution.numpy(), name=name)
        context = InputTag("mlflow.data.context", {"train": "training", "test": "testing"}.get(split, split))
        found.append(DatasetInput(dataset._to_mlflow_entity(), [context]))
    return found


def _log_parameters(client: MlflowClient, run_id: str, values: Mapping[str, Any], known: Mapping[str, str]) -> None:
    """Log the configuration. MLflow's parameters never change, so a resumed run notes its changes as tags."""
    from mlflow.entities import Param, RunTag

    texts = {key: _parameter(value) for key, value in values.items()}
    new = [Param(key, text) for key, text in texts.items() if key not in known]
    for first in range(0, len(new), PARAMETERS_PER_CALL):
        client.log_batch(run_id, params=new[first : first + PARAMETERS_PER_CALL])
    changed = [RunTag(f"resumed.{key}", text) for key, text in texts.items() if known.get(key, text) != text]
    if changed:
        client.log_batch(run_id, tags=changed)


def _parameter(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= LONGEST_PARAMETER else text[: LONGEST_PARAMETER - 1] + "…"


def _import_mlflow() -> Any:
    """MLflow, made to give up soon, and silent about what we tell ourselves in one line."""
    for name, value in (
        # GitPython complains at import if there is no git; the run then only lacks the commit's name.
        ("GIT_PYTHON_REFRESH", "quiet"),
        ("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false"),
        # A training program does not report to a third party unless its user says so.
        ("MLFLOW_DISABLE_TELEMETRY", "true"),
        # By default a server that is not there, or does not answer, would be asked for minutes, for every single thing.
        ("MLFLOW_HTTP_REQUEST_TIMEOUT", str(ANSWER_SECONDS)),
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1"),
        ("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1"),
    ):
        os.environ.setdefault(name, value)
    import mlflow

    # After the import, which sets them to INFO.
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    for name in ("mlflow.store", "alembic", "sqlalchemy", "urllib3"):
        # They print a failure's traceback, or every try of it, and raise it as well; it is told where it is caught.
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return mlflow


def _wait_less_for_sqlite() -> None:
    """MLflow has every session wait 20 seconds for a locked database file, and no setting for it."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    if not event.contains(Engine, "before_cursor_execute", _shorter_wait):
        event.listen(Engine, "before_cursor_execute", _shorter_wait, retval=True)


def _shorter_wait(
    connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
) -> tuple[str, Any]:
    if statement.startswith("PRAGMA busy_timeout"):
        statement = f"PRAGMA busy_timeout = {1000 * ANSWER_SECONDS};"
    return statement, parameters


@contextmanager
def _hurry() -> Iterator[None]:
    """Inside, a server has a second to answer, and one try: it has failed before."""
    short = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "1", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    usual = {name: os.environ[name] for name in short}
    os.environ.update(short)
    try:
        yield
    finally:
        os.environ.update(usual)


def _alone(uri: str) -> AbstractContextManager[object]:
    """Nobody else begins a run in a database file meanwhile: two programs must not both make its tables."""
    file = _database_file(uri)
    return nullcontext() if file is None else FileLock(f"{file}.lock", timeout=LONGEST_WAIT_SECONDS)


def _database_file(uri: str) -> Path | None:
    return Path(uri.removeprefix("sqlite:///").partition("?")[0]) if uri.startswith("sqlite:///") else None


def _check_sqlite(uri: str) -> None:
    """Find out at once what MLflow would try for a minute: that a database file cannot be opened."""
    file = _database_file(uri)
    if file is None:
        return
    import sqlite3

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(file, timeout=ANSWER_SECONDS)
        try:
            connection.execute("PRAGMA schema_version")
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
        finally:
            connection.close()
    except (OSError, sqlite3.Error) as error:
        raise UserError(
            f"MLflow cannot use tracking.uri={uri}: {error} (tracking.enabled=false trains without MLflow)"
        ) from None


def _first_line(error: BaseException) -> str:
    """The start of an error's message, which MLflow's stores can make pages long."""
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if cause := HTTP_CAUSE.search(text):
        text = cause[1]
    return textwrap.shorten(text, 200, placeholder=" …")
