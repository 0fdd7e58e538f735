"""Options of the programs, and places that cannot be written to."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from tables.case import PROGRAMS, SMALL, Case, Material
from tables.configuration import with_run

AREA, PLACES = "options of programs", "places to write"
BOARD = "321...32.12.23.1"
WORK: dict[str, tuple[str, ...]] = {
    "train": (*SMALL, "collector.num_envs=8", "budget.updates=2"),
    "evaluate": ("run", "--puzzles", "20"),
    "solve": ("run", BOARD),
    "analyze": ("run", "--puzzles", "20"),
    "halt": ("run", "--puzzles", "20", "halting.ppo.puzzles=20", "halting.ppo.iterations=1"),
    "compare": ("--schemes", "pi", "--seeds", "1", *SMALL, "collector.num_envs=8"),
}
"""Arguments with which each program does a little work."""

COUNTS = ("abc", "0", "-1", "1.5", "nan", "inf", "", "1e3", "-inf", "0x10", "１２x")
SHARES = ("abc", "nan", "inf", "-1", "", "1e999", "0.5x")


def cases() -> Iterator[Case]:
    """All of this page."""
    for program, options in {
        "evaluate": ["--steps", "--puzzles", "--trajectories", "--budget-passes"],
        "solve": ["--steps"],
        "analyze": ["--steps", "--puzzles"],
        "halt": ["--steps", "--puzzles"],
        "compare": ["--seeds", "--budget-passes"],
    }.items():
        for option in options:
            for value in COUNTS:
                yield _case(program, f"{option}={value}", option)
    for program, options in {
        "evaluate": ["--halt-threshold", "--guidance", "--noise", "--enough"],
        "solve": ["--halt-threshold", "--guidance"],
        "compare": ["--budget-seconds", "--target-accuracy"],
    }.items():
        for option in options:
            for value in SHARES:
                more = ("--trajectories", "2") if option in ("--noise", "--enough") else ()
                yield _case(program, f"{option}={value}", option, *more)
    for program, values in {
        "evaluate": ["--halt-threshold=0", "--halt-threshold=1", "--halt-threshold=2", "--enough=0", "--enough=1.5",
                     "--halt=nonsense", "--halt=", "--choose=nonsense", "--puzzles=101", "--puzzles=1000000000000",
                     "--puzzles=" + "9" * 5000, "--puzzles=" + "9" * 400, "--steps=1000000000000",
                     "--steps=" + "9" * 5000,
                     "--trajectories=1000000000000", "--budget-passes=1", "--device=nonsense",
                     "--device=", "--device=cuda:99", "--device=meta", "--config=none", "--halt=learned",
                     "--submission=", "--sheet="],
        "solve": ["--halt=nonsense", "--halt=learned", "--steps=1000000000000", "--device=nonsense", "--device=cuda:99",
                  "--guidance=-0.5", "--config=none"],
        "analyze": ["--steps=1000000000000", "--puzzles=101", "--device=nonsense", "--config=none"],
        "halt": ["--steps=1", "--steps=1000000000000", "--puzzles=101", "--device=nonsense"],
        "compare": ["--seeds=1000000000000", "--target-accuracy=0", "--target-accuracy=1.1", "--metric=nonsense",
                    "--budget-seconds=0", "--budget-seconds=-5", "--config=none", "--config=",
                    "--budget-seconds=1e-400"],
        "train": ["--config=none", "--config=", "--resume=none", "--init=none"],
    }.items():  # fmt: skip
        for value in values:
            option = value.partition("=")[0]
            if option in ("--submission", "--sheet"):
                continue  # for ARC's models alone
            yield _case(program, value, "" if option == "--device" else option)
    yield from _unknown()
    yield from _lists()
    yield from _places()


def _case(program: str, argument: str, named: str, *more: str) -> Case:
    short = argument if len(argument) < 40 else f"{argument[:20]}... of {len(argument)} characters"
    words = (named, named.lstrip("-").replace("-", " "), named.lstrip("-")) if named else ()
    words += {"--config": ("preset",), "--resume": ("run directory",), "--init": ("checkpoint",)}.get(named, ())
    words += ("budget.seconds", "budget.passes") if named.startswith("--budget") else ()
    # A budget among the settings would be taken in place of the option's.
    work = [one for one in WORK[program] if not (named.startswith("--budget") and one.startswith("budget."))]
    return Case(AREA, f"{program} {short}", program, (*work, *more, argument), with_run, named=words)


def _unknown() -> Iterator[Case]:
    for program in PROGRAMS:
        for option in (
            "--nonsense",
            "--jsn",
            "-x",
            "--JSON",
            "--json",
            "--config",
            "---",
            "--steps-",
            "--hel",
            "--no-json",
        ):
            value = () if option in ("--json", "--config") else ("5",)
            yield Case(AREA, f"{program} {option}", program, (*WORK[program], option, *value), with_run)
        if program not in ("train", "compare"):
            yield Case(AREA, f"{program} of nothing", program, (), with_run)
    yield Case(AREA, "evaluate of two", "evaluate", ("run", "run"), with_run)
    yield Case(AREA, "analyze of two", "analyze", ("run", "run"), with_run)
    yield Case(AREA, "an option with an escape", "train", ("--\x1b[31mred",), with_run)
    yield Case(AREA, "an option of 5,000 letters", "train", ("--" + "a" * 5000,), with_run)
    yield Case(AREA, "an option with a line in it", "train", ("--a\nb",), with_run)
    yield Case(AREA, "a setting with a line in it", "train", ("seed=a\nb: c",), with_run)


def _lists() -> Iterator[Case]:
    for wrong, arguments in {
        "no scheme": ("--schemes",),
        "an unknown scheme": ("--schemes", "nonsense"),
        "a scheme twice": ("--schemes", "pi", "pi"),
        "two schemes of one name": ("--schemes", "pi", "x/pi.yaml"),
        "an empty scheme": ("--schemes", ""),
        "a scheme that is missing": ("--schemes", "none.yaml"),
        "a scheme that climbs": ("--schemes", "../../x"),
        "a setting of no scheme": ("--schemes", "pi", "trm:seed=5"),
        "a setting of a scheme's that is reserved": ("--schemes", "pi", "pi:seed=5"),
        "the scheme as a setting": ("--schemes", "pi", "scheme=trm"),
        "the seed as a setting": ("--schemes", "pi", "seed=1"),
        "the name as a setting": ("--schemes", "pi", "name=x"),
        "other puzzles for one scheme": ("--schemes", "pi", "trm", "pi:env.options.size=6"),
        "a budget of two kinds": ("--schemes", "pi", "--budget-seconds", "1", "--budget-passes", "5"),
        "a setting without a value": ("--schemes", "pi", "seed"),
    }.items():
        yield Case(AREA, f"compare with {wrong}", "compare", ("--seeds", "1", *SMALL, *arguments), with_run)
    for wrong in ("abc", "-1", "nan", "inf", "", "1e999", "0.1,0.2"):
        yield Case(AREA, f"halt at a price of {wrong!r}", "halt", ("run", f"--pass-costs={wrong}"), with_run,
                   named=("--pass-costs", "pass-costs"))  # fmt: skip


def _places() -> Iterator[Case]:
    places = {
        "in no folder": "no/such/folder/x",
        "under a file": "file/x",
        "in /proc": "/proc/x",
        "with too long a name": "a" * 300,
        "with far too long a name": "a" * 5000,
        "empty": "",
    }
    files = [(program, "--json") for program in PROGRAMS] + [("solve", "--png"), ("solve", "--gif")]

    def prepare(folder: Path, material: Material) -> None:
        with_run(folder, material)
        (folder / "file").write_text("hello")
        (folder / "folder").mkdir()
        for ending in ("png", "gif", "json"):
            (folder / f"folder.{ending}").mkdir()

    for program, option in files:
        ending = "." + option.lstrip("-")
        for wrong, place in {**places, "a folder": "folder"}.items():
            if not place and option != "--json":
                continue
            place = place and place + ending
            arguments = (*WORK[program], f"{option}={place}")
            yield Case(PLACES, f"{program} {option} {wrong}", program, arguments, prepare)
    for program in ("analyze", "halt", "compare"):
        for wrong, place in {**places, "a file": "file"}.items():
            if wrong != "in no folder" and place:  # folders are made, and an empty one is this folder
                yield Case(PLACES, f"{program} --out {wrong}", program, (*WORK[program], f"--out={place}"), prepare)
    for option, place in (("--png", "x.xyz"), ("--png", "x"), ("--gif", "x.png"), ("--gif", "x")):
        yield Case(PLACES, f"solve {option} {place}", "solve", (*WORK["solve"], f"{option}={place}"), prepare,
                   expected="either" if option == "--png" and place == "x" else "refused")  # fmt: skip

    def no_folder(folder: Path, material: Material) -> None:
        with_run(folder, material)
        shutil.rmtree(folder / "runs", ignore_errors=True)
        (folder / "runs").write_text("in the way")

    yield Case(PLACES, "train where runs is a file", "train", WORK["train"], no_folder, named=("runs",))
    yield Case(PLACES, "compare where runs is a file", "compare", WORK["compare"], no_folder, named=("runs",))

    def no_analysis(folder: Path, material: Material) -> None:
        with_run(folder, material)
        (folder / "run/analysis").write_text("in the way")
        (folder / "run-halt").write_text("in the way")

    yield Case(PLACES, "analyze where analysis is a file", "analyze", WORK["analyze"], no_analysis, named=("analysis",))
    yield Case(PLACES, "halt where its folder is a file", "halt", WORK["halt"], no_analysis, named=("run-halt",))
