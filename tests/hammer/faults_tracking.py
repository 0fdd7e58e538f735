"""MLflow that is dead, dies, hangs, is locked, deleted or read-only: training never dies for tracking's sake."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3

from hammer.bench import Bench, case
from hammer.modes import TINY, tracked
from hammer.runner import Running
from hammer.server import Server

DELAY_SECONDS = 30.0
"""What a store that does not answer may cost at the start, and again at the end."""

LIMIT_SECONDS = 150.0
"""When the hammer stops waiting for a run that a store holds up."""

SQLITE = "sqlite:///mlflow.db"
STEPS = 15
"""After so many optimizer steps is "in the middle"."""


def _refused_or_warned(bench: Bench, running: Running) -> None:
    """A store that is of no use at the start: one line and nothing left behind, or a warning and training."""
    outcome = running.wait(LIMIT_SECONDS)
    bench.ended(outcome, 0, 2, says="MLflow|tracking", faults=False)
    bench.result.figures["start_seconds"] = outcome.seconds
    bench.expect(outcome.seconds < DELAY_SECONDS + bench.patience, f"took {outcome.seconds:.0f} s to say so")
    if outcome.code == 2:
        bench.expect(not bench.run_dir.exists(), "refused, but a run directory is left behind")
    elif outcome.code == 0:
        bench.finished()


def _goes_on_without(bench: Bench, running: Running) -> None:
    """A store that fails in the middle: the result is there, and a line or two say what is missing."""
    outcome = running.wait(LIMIT_SECONDS)
    bench.ended(outcome, 0, says="MLflow|tracking", faults=False, lines=8)
    bench.result.figures["run_seconds"] = outcome.seconds
    bench.expect(outcome.seconds < DELAY_SECONDS + bench.patience, f"the end was {outcome.seconds:.0f} s late")
    bench.finished()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@case("mlflow")
def works(bench: Bench) -> None:
    """No fault, a database: the same training as without MLflow."""
    outcome = bench.run(*tracked(TINY, SQLITE))
    bench.ended(outcome, 0, faults=False, lines=0)
    bench.finished()


@case("mlflow")
def server_works(bench: Bench) -> None:
    """No fault, the hammer's own server, which the cases below begin with. It takes no models: one warning."""
    with Server(bench.folder / "artifacts") as server:
        outcome = bench.run(*tracked(TINY, server.uri))
    bench.ended(outcome, 0, faults=False, lines=2)
    bench.finished()
    bench.expect(server.points > 0, "no points came")


@case("mlflow")
def server_dead_at_the_start(bench: Bench) -> None:
    """Nobody listens."""
    _refused_or_warned(bench, bench.start(*tracked(TINY, f"http://127.0.0.1:{_free_port()}")))


@case("mlflow", mood=("hang", "fail", "die"))
def server_at_the_start(bench: Bench, mood: str) -> None:
    """Somebody listens, but does not answer, answers with errors, or hangs up."""
    with Server(bench.folder / "artifacts", mood) as server:
        _refused_or_warned(bench, bench.start(*tracked(TINY, server.uri)))


@case("mlflow", mood=("hang", "fail", "die"))
def server_in_the_middle(bench: Bench, mood: str) -> None:
    """The same, once training has begun."""
    with Server(bench.folder / "artifacts") as server:
        running = bench.start(*tracked(TINY, server.uri))
        bench.until_steps(running, STEPS)
        server.mood = mood
        _goes_on_without(bench, running)


@case("mlflow")
def server_gone_in_the_middle(bench: Bench) -> None:
    """Nobody listens any more."""
    with Server(bench.folder / "artifacts") as server:
        running = bench.start(*tracked(TINY, server.uri))
        bench.until_steps(running, STEPS)
    _goes_on_without(bench, running)


@case("mlflow")
def database_locked_at_the_start(bench: Bench) -> None:
    """Another program holds the database and does not let go."""
    connection = _make_database(bench)
    connection.execute("BEGIN EXCLUSIVE")
    _refused_or_warned(bench, bench.start(*tracked(TINY, SQLITE)))
    connection.close()


@case("mlflow")
def database_locked_in_the_middle(bench: Bench) -> None:
    """It takes hold of it during training."""
    connection = _make_database(bench)
    running = bench.start(*tracked(TINY, SQLITE))
    bench.until_steps(running, STEPS)
    connection.execute("BEGIN EXCLUSIVE")
    _goes_on_without(bench, running)
    connection.close()


@case("mlflow")
def database_deleted_in_the_middle(bench: Bench) -> None:
    """The file is gone."""
    _make_database(bench).close()
    running = bench.start(*tracked(TINY, SQLITE))
    bench.until_steps(running, STEPS)
    for path in bench.folder.glob("mlflow.db*"):
        path.unlink()
    _goes_on_without(bench, running)


@case("mlflow")
def database_damaged_in_the_middle(bench: Bench) -> None:
    """Its content is overwritten."""
    _make_database(bench).close()
    running = bench.start(*tracked(TINY, SQLITE))
    bench.until_steps(running, STEPS)
    (bench.folder / "mlflow.db").write_bytes(b"not a database\n" * 1000)
    _goes_on_without(bench, running)


@case("mlflow", what=("damaged", "folder", "empty-file"))
def database_at_the_start(bench: Bench, what: str) -> None:
    """Something else lies where the database belongs."""
    place = bench.folder / "mlflow.db"
    if what == "folder":
        place.mkdir()
    else:
        place.write_bytes(b"not a database\n" * 1000 if what == "damaged" else b"")
    if what == "empty-file":
        # What sqlite makes of an empty file is a new database.
        bench.ended(bench.run(*tracked(TINY, SQLITE)), 0, faults=False, lines=0)
        bench.finished()
    else:
        _refused_or_warned(bench, bench.start(*tracked(TINY, SQLITE)))


@case("mlflow")
def database_read_only_at_the_start(bench: Bench) -> None:
    """It belongs to somebody else."""
    _make_database(bench).close()
    os.chmod(bench.folder / "mlflow.db", 0o444)
    _refused_or_warned(bench, bench.start(*tracked(TINY, SQLITE), fresh=True, bound=True, journal=False))


@case("mlflow")
def database_read_only_in_the_middle(bench: Bench) -> None:
    """It, and the folder that its journal lies in, become read-only."""
    (bench.folder / "store").mkdir()
    database = bench.folder / "store" / "mlflow.db"
    _make_database(bench).close()
    (bench.folder / "mlflow.db").rename(database)
    running = bench.start(*tracked(TINY, f"sqlite:///{database}"), fresh=True, bound=True)
    bench.until_steps(running, STEPS)
    os.chmod(database, 0o444)
    os.chmod(database.parent, 0o555)
    _goes_on_without(bench, running)
    os.chmod(database.parent, 0o755)


@case("mlflow", gone=("deleted", "server dead"))
def resume_without_the_store(bench: Bench, gone: str) -> None:
    """A run goes on whose MLflow run is gone: a warning, or one line that says how; nothing is lost."""
    if gone == "deleted":
        _make_database(bench).close()
        running = bench.start(*tracked(TINY, SQLITE))
        bench.until_steps(running, STEPS)
        bench.end(running)
        (bench.folder / "mlflow.db").unlink()
    else:
        with Server(bench.folder / "artifacts") as server:
            running = bench.start(*tracked(TINY, server.uri))
            bench.until_steps(running, STEPS)
            bench.end(running)
    outcome = bench.start_again().wait(LIMIT_SECONDS)
    bench.ended(outcome, 0, 2, says="MLflow|tracking", faults=False)
    bench.expect(outcome.seconds < DELAY_SECONDS + bench.patience, f"took {outcome.seconds:.0f} s")
    if outcome.code != 0:
        bench.expect("tracking.enabled=false" in outcome.err, "does not say how to go on without")
        outcome = bench.start_again("tracking.enabled=false").wait()
        bench.ended(outcome, 0, faults=False, what="afterwards")
    bench.finished()


@case("mlflow")
def stopped_while_the_server_hangs(bench: Bench) -> None:
    """Ctrl-C during training with a server that has stopped answering: the end does not wait for it."""
    with Server(bench.folder / "artifacts") as server:
        running = bench.start(*tracked(TINY, server.uri, updates=10**6))
        bench.until_steps(running, STEPS)
        server.mood = "hang"
        bench.until_steps(running, 2 * STEPS)
        running.signal(2)
        outcome = running.wait(LIMIT_SECONDS)
    bench.ended(outcome, 130, faults=False, lines=6)
    bench.checkpoint_loads()


@case("mlflow", mode="compare")
def compare_database_deleted(bench: Bench) -> None:
    """A comparison loses its database between two runs: the runs are made, the report is."""
    shutil.copy(_database(bench), bench.folder / "mlflow.db")
    running = bench.start("tracking.enabled=true", f"tracking.uri={SQLITE}")
    bench.until_steps(running, STEPS)
    for path in bench.folder.glob("mlflow.db*"):
        path.unlink()
    outcome = running.wait(LIMIT_SECONDS)
    bench.ended(outcome, 0, says="MLflow|tracking", faults=False, lines=16)
    bench.expect((bench.run_dir / "compare.json").is_file(), "compare.json is missing: a finished result is lost")


def _database(bench: Bench) -> str:
    """A database with a run in it, made once: making its tables takes longer than a case."""
    made = bench.stable.scratch / "made" / "mlflow.db"
    if not made.exists():
        outcome = bench.stable.run(made.parent, "train", *tracked(TINY, SQLITE, updates=2))
        if outcome.code != 0:
            raise RuntimeError(f"no database could be made: {outcome.last_line()}")
    return str(made)


def _make_database(bench: Bench) -> sqlite3.Connection:
    """Put one into the case's folder; returns a connection to it."""
    shutil.copy(_database(bench), bench.folder / "mlflow.db")
    return sqlite3.connect(bench.folder / "mlflow.db", isolation_level=None)
