"""`make hammer`: run all of the hammer, or a part of it."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from hammer import bad_inputs, faults, kills, report, soak, team
from hammer.modes import References
from hammer.runner import Stable

EXAMPLE = """\
examples:
  make hammer                                       all parts: about two hours on two cores
  make hammer ARGS="kills --count 300 --seed 7"     300 kills, other moments than with seed 0
  make hammer ARGS="faults --only mlflow"           the cases whose name holds "mlflow" (a regular expression)
  make hammer ARGS="soak --minutes 30"
  make hammer ARGS="team --count 20"                20 kills of processes that train together
  make hammer ARGS="inputs --only checkpoints"      bad input: about 3,000 cases in all, those of checkpoints alone
  make hammer ARGS="--list"                         the names of all cases
Seed and count choose the kills: the same two give the same ones, at the same moments; every combination of mode and
kind comes once before any comes twice. A case that failed can be had alone: --only with its name, and --case-seed with
the seed it was reported with."""


PARTS = ["kills", "faults", "soak", "inputs", "team"]


def main() -> int:
    parser = argparse.ArgumentParser(
        "python -m hammer", epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Kill, disturb, wear out and misuse the programs of latent_rl, and compare what they leave.",
    )  # fmt: skip
    parser.add_argument("parts", nargs="*", metavar="PART", help="kills, faults, soak, inputs, team (default: all)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the kills (0)")
    parser.add_argument("--count", type=int, default=100, metavar="N", help="kills (100)")
    parser.add_argument("--minutes", type=float, default=30.0, metavar="M", help="of the soak (30)")
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="bad inputs at a time (2)")
    parser.add_argument("--only", default="", metavar="REGEX", help="cases whose name part/group/case matches")
    parser.add_argument("--case-seed", type=int, metavar="S", help="repeat kills with the seed that a report names")
    parser.add_argument("--keep", action="store_true", help="keep the folders of cases that failed")
    parser.add_argument("--list", action="store_true", help="print the names of all cases")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there too")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    parts = options.parts or PARTS
    console = Console()
    if options.list:
        names = [f"kills/{mode}/{kill.name}" for mode, kill in kills.combinations(options.only)]
        names += [f"faults/{case.group}/{case.name}" for case in faults.cases(options.only)]
        names += bad_inputs.names(options.only) + team.names(options.only)
        console.print("\n".join(sorted(set(names))), markup=False, highlight=False, soft_wrap=True)
        return 0

    started, results = time.monotonic(), []
    scratch = Path(tempfile.mkdtemp(prefix="hammer-"))

    def note(result: report.Result) -> None:
        results.append(result)
        if result.part == bad_inputs.PART and result.good:
            return  # thousands
        word = "ok    " if result.good else "FAILED"
        name = f"{result.part}/{result.group}/{result.name}"
        line = f"{word} {name} {result.seconds:.1f} s" + "".join(f"\n         {text}" for text in result.symptoms)
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    try:
        if "team" in parts:
            for result in team.run(scratch, options.seed, options.count, options.only, options.case_seed):
                note(result)
        with Stable(scratch) as stable:
            references = References(stable)
            if "kills" in parts:
                for result in kills.run(references, options.seed, options.count, options.only, options.case_seed):
                    note(result)
            if "faults" in parts:
                for result in faults.run(references, options.only):
                    note(result)
        if "soak" in parts:
            note(soak.run(scratch, options.minutes))
        if "inputs" in parts:
            for result in bad_inputs.run(scratch, options.only, options.processes):
                note(result)
    except KeyboardInterrupt:
        console.print("stopped")
    report.show(console, results)
    if options.json is not None:
        report.write(options.json, results, seed=options.seed, seconds=time.monotonic() - started)
    if options.keep and not all(result.good for result in results):
        console.print(f"kept: {scratch}")
    else:
        shutil.rmtree(scratch, ignore_errors=True)
    return 0 if all(result.good for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
