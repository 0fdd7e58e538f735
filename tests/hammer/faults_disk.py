"""Full disks and folders that cannot be written."""

from __future__ import annotations

import os
import shutil

from hammer.bench import Bench, case
from hammer.modes import NAME, TINY, tracked

FOR_EVER = 10**9
FULL = r"(?i)no space|too large|disk is full|full disk"
NOT_WRITTEN = r"(?i)cannot|could not|not (be )?(written|saved|stored|kept)"

MOMENTS = {
    "opening": {"on": "open", "then": "errno:ENOSPC"},
    "writing": {"on": "open", "then": "limit:8192"},
    "flushing": {"on": "fsync", "then": "errno:ENOSPC"},
    "renaming": {"on": "rename", "then": "errno:ENOSPC"},
}
"""Where in the writing of a file the disk is found to be full."""


@case("disk", moment=MOMENTS)
def checkpoint_once(bench: Bench, moment: str) -> None:
    """One checkpoint in the middle of training cannot be written: a warning, and the next one is."""
    outcome = bench.run(faults=[{**MOMENTS[moment], "path": r"training\.pt", "first": 2, "last": 2}])
    bench.ended(outcome, 0, says=FULL)
    bench.same()


@case("disk")
def model_once(bench: Bench) -> None:
    """The same with the other file of a checkpoint."""
    # Not with a limit for all files, which would stay until this one is opened again.
    outcome = bench.run(faults=[{**MOMENTS["flushing"], "path": r"model\.pt", "first": 2, "last": 2}])
    bench.ended(outcome, 0, says=FULL)
    bench.same()


@case("disk", moment=MOMENTS)
def checkpoint_from_the_second_on(bench: Bench, moment: str) -> None:
    """The disk stays full: training ends with one line, the first checkpoint is whole, and goes on later."""
    outcome = bench.run(faults=[{**MOMENTS[moment], "path": r"training\.pt", "first": 2, "last": FOR_EVER}])
    bench.ended(outcome, 2, says=FULL, lines=12)
    bench.checkpoint_loads()
    bench.goes_on()


@case("disk")
def checkpoint_never(bench: Bench) -> None:
    """Not even the first: one line, and no litter."""
    outcome = bench.run(faults=[{**MOMENTS["writing"], "path": r"training\.pt", "last": FOR_EVER}])
    bench.ended(outcome, 2, says=FULL, lines=12)
    left = [path.name for path in bench.run_dir.rglob("*training.pt*")]
    bench.expect(not left, f"left over: {', '.join(left)}")


@case("disk", moment=("opening", "writing"))
def figures(bench: Bench, moment: str) -> None:
    """The figures do not fit: the result does, and a line says what is missing."""
    outcome = bench.run(faults=[{**MOMENTS[moment], "path": r"\.png", "last": FOR_EVER}])
    bench.ended(outcome, 0, 2, says=FULL, lines=6)
    bench.finished()
    bench.goes_on()


@case("disk", file=("history.json", "summary.json"))
def records(bench: Bench, file: str) -> None:
    """What was measured cannot be written: one line, and going on writes it."""
    outcome = bench.run(faults=[{**MOMENTS["opening"], "path": file, "last": FOR_EVER}])
    bench.ended(outcome, 0, 2, says=FULL)
    bench.checkpoint_loads()
    bench.goes_on()


@case("disk")
def configuration(bench: Bench) -> None:
    """Nothing can be written from the start: one line, nothing left behind."""
    outcome = bench.run(faults=[{**MOMENTS["opening"], "path": r"config\.yaml", "last": FOR_EVER}])
    bench.ended(outcome, 2, says=FULL)
    bench.expect(not bench.run_dir.exists(), "a run directory is left behind")


@case("disk")
def configuration_when_going_on(bench: Bench) -> None:
    """A resume rewrites the configuration: cut off, the old one must still be there."""
    stopped = bench.start()
    bench.until_steps(stopped, 20)
    bench.end(stopped)
    before = (bench.run_dir / "config.yaml").read_text()
    outcome = bench.start_again(faults=[{"on": "open", "path": r"config\.yaml", "then": "limit:100"}]).wait()
    # Not rewriting what has not changed is as good.
    bench.ended(outcome, 0, 2, faults=False)
    bench.expect((bench.run_dir / "config.yaml").read_text() == before, "config.yaml is cut off")
    bench.goes_on()


@case("disk", moment=("opening", "writing"))
def puzzle_cache(bench: Bench, moment: str) -> None:
    """Generated puzzles cannot be kept: a warning, and training goes on."""
    cache = bench.folder / "cache"
    fault = {**MOMENTS[moment], "path": str(cache), "last": FOR_EVER}
    outcome = bench.run(faults=[fault], environment={"LATENT_RL_CACHE": str(cache)})
    if moment == "opening":
        bench.ended(outcome, 0, says=FULL)
        left = [path.name for path in cache.rglob("*") if path.is_file()]
        bench.expect(not left, f"left over: {', '.join(left)}")
    else:  # the limit holds for all that is written later as well
        bench.ended(outcome, 2, says=FULL, lines=12)


@case("disk")
def tracking_database(bench: Bench) -> None:
    """MLflow's database cannot grow: training does not care."""
    settings = tracked(TINY, "sqlite:///mlflow.db")
    bench.expect(bench.run(*settings, "name=first").code == 0, "the run before failed")
    size = (bench.folder / "mlflow.db").stat().st_size
    fault = {"on": "step", "first": 5, "last": FOR_EVER, "then": f"limit:{size}"}
    outcome = bench.run(*settings, faults=[fault])
    bench.ended(outcome, 0, says="MLflow", lines=8)
    bench.finished()


@case("disk")
def tracking_artifacts(bench: Bench) -> None:
    """What MLflow keeps beside its database does not fit."""
    fault = {"on": "open", "path": "(mlruns|mlartifacts).*(png|json|pt)", "last": FOR_EVER, "then": "errno:ENOSPC"}
    outcome = bench.run(*tracked(TINY, "sqlite:///mlflow.db"), faults=[fault])
    bench.ended(outcome, 0, says="MLflow", lines=8)
    bench.finished()


@case("disk", mode="halt", file=("tradeoff.*json", "tradeoff.*png", "config.yaml", "model.pt"))
def halt(bench: Bench, file: str) -> None:
    """A part of what `halt` leaves does not fit: one line; the same command later makes all of it."""
    outcome = bench.run(faults=[{**MOMENTS["opening"], "path": rf"taught.*{file}", "last": FOR_EVER}])
    bench.ended(outcome, 0, 2, says=FULL)
    bench.goes_on()


@case("disk", mode="compare", file=("compare[^/]*json", "compare[^/]*md", "figures/.*png", r"dis-0/.*training\.pt"))
def compare(bench: Bench, file: str) -> None:
    """A part of a comparison does not fit: one line; the same command goes on later."""
    outcome = bench.run(faults=[{**MOMENTS["opening"], "path": file, "last": FOR_EVER}])
    bench.ended(outcome, 0, 2, says=FULL, lines=10)
    bench.goes_on()


OUTPUTS = {
    "train --json": ["train", *TINY, f"name={NAME}", "--json", "/dev/full"],
    "evaluate --json": ["evaluate", f"runs/{NAME}", "--device", "cpu", "--json", "/dev/full"],
    "solve --json": ["solve", f"runs/{NAME}", "4..2.....4..321.", "--json", "/dev/full"],
    "analyze --json": ["analyze", f"runs/{NAME}", "--device", "cpu", "--json", "/dev/full"],
}


@case("disk", which=OUTPUTS)
def output(bench: Bench, which: str) -> None:
    """The file that an option names does not fit: one line, code 2, and all that was made is there."""
    if not which.startswith("train"):
        _copy_trained(bench)
    outcome = bench.program(*OUTPUTS[which])
    bench.ended(outcome, 2, says=FULL, faults=False)
    bench.finished()


@case("disk", which=("solve --png", "solve --gif", "analyze figures", "analyze report"))
def drawing(bench: Bench, which: str) -> None:
    """A figure of a finished model does not fit: one line, code 2."""
    _copy_trained(bench)
    program, _, thing = which.partition(" ")
    words = ["--device", "cpu"] if program == "analyze" else ["4..2.....4..321.", thing, f"steps.{thing[2:]}"]
    path = {"figures": r"analysis/.*\.png", "report": r"analysis/.*\.md"}.get(thing, r"steps\.")
    fault = {**MOMENTS["opening"], "path": path, "last": FOR_EVER}
    outcome = bench.program(program, f"runs/{NAME}", *words, faults=[fault])
    bench.ended(outcome, 2, says=FULL)


@case("folder")
def read_only_from_the_start(bench: Bench) -> None:
    """`runs/` cannot be written: one line before any work."""
    (bench.folder / "runs").mkdir()
    os.chmod(bench.folder / "runs", 0o555)
    outcome = bench.run(fresh=True, bound=True, journal=False)
    bench.ended(outcome, 2, says="(?i)permission|read-only")


@case("folder")
def read_only_in_the_middle(bench: Bench) -> None:
    """The checkpoint's folder becomes read-only, and writable again before the end: warnings, the same end."""
    faults = [{"on": "step", "first": step, "then": "stop"} for step in (15, 30)]
    running = bench.start(faults=faults, fresh=True, bound=True)
    for mode in (0o555, 0o755):
        if not bench.expect(running.until_stopped(), "ended early"):
            break
        (bench.run_dir / "checkpoint").mkdir(exist_ok=True)
        os.chmod(bench.run_dir / "checkpoint", mode)
        running.go_on()
    outcome = running.wait()
    os.chmod(bench.run_dir / "checkpoint", 0o755)
    bench.ended(outcome, 0, says="(?i)permission|read-only", lines=12)
    bench.same()


@case("folder")
def read_only_for_good(bench: Bench) -> None:
    """The run directory becomes read-only and stays so: one line at the end; the last checkpoint goes on elsewhere."""
    faults = [{"on": "step", "first": 20, "last": 20, "then": "stop"}]
    running = bench.start(faults=faults, fresh=True, bound=True)
    bench.expect(running.until_stopped(), "ended early")
    places = [bench.run_dir, *(path for path in bench.run_dir.rglob("*") if path.is_dir())]
    for place in places:
        os.chmod(place, 0o555)
    running.go_on()
    outcome = running.wait()
    for place in places:
        os.chmod(place, 0o755)
    bench.ended(outcome, 2, says="(?i)permission|read-only", lines=12)
    bench.goes_on()


@case("folder", what=("runs", f"runs/{NAME}"))
def a_file_in_its_place(bench: Bench, what: str) -> None:
    """A file has the name that a folder needs: one line, or another name."""
    place = bench.folder / what
    place.parent.mkdir(exist_ok=True)
    place.write_text("not a folder\n")
    outcome = bench.run()
    bench.ended(outcome, *((2,) if what == "runs" else (0, 2)), faults=False)
    bench.expect(place.read_text() == "not a folder\n", "the file was overwritten")


@case("folder")
def a_file_in_the_place_of_the_checkpoint(bench: Bench) -> None:
    """In the run directory, when the first checkpoint is due."""
    running = bench.start(faults=[{"on": "step", "first": 1, "then": "stop"}])
    bench.expect(running.until_stopped(), "ended early")
    (bench.run_dir / "checkpoint").write_text("not a folder\n")
    running.go_on()
    bench.ended(running.wait(), 2, says=NOT_WRITTEN, lines=12)


@case("folder", what=(f"runs/{NAME}", f"runs/{NAME}/checkpoint", "."))
def removed_while_training(bench: Bench, what: str) -> None:
    """Somebody cleans up: the folder is made anew, or one line says that it is gone."""
    running = bench.start(faults=[{"on": "step", "first": 15, "last": 15, "then": "stop"}])
    bench.expect(running.until_stopped(), "ended early")
    shutil.rmtree(bench.folder / what)
    running.go_on()
    bench.ended(running.wait(), 0, 2, lines=12)
    bench.folder.mkdir(exist_ok=True)


def _copy_trained(bench: Bench) -> None:
    source = bench.references.folder("pi") / f"runs/{NAME}"
    shutil.copytree(source, bench.folder / f"runs/{NAME}", dirs_exist_ok=True)
