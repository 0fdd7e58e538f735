"""Give the programs every input of the tables, and report what became of them.

python tests/hammer/inputs/hammer_inputs.py
python tests/hammer/inputs/hammer_inputs.py --only checkpoints --json result.json
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import sys
import tempfile
import time
from pathlib import Path

# One thread each, before torch is imported: a process with more cannot be forked safely.
os.environ["OMP_NUM_THREADS"] = "1"

import material
import sandbox
from tables import all_cases, options
from verdicts import judge, table


def main() -> None:
    """The command-line program; exit code 1 if an outcome was not right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="PATTERN", default="", help="cases whose name inputs/area/case matches")
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="one case in N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write cases and outcomes there")
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="cases at a time (2)")
    parser.add_argument("--quiet", action="store_true", help="print the table alone, not the cases that went wrong")
    arguments = parser.parse_args()

    names = {case: f"inputs/{case.area}/{case.name}" for case in all_cases()}
    found = [case for case, name in names.items() if re.search(arguments.only, name)][:: arguments.every]
    if arguments.list:
        print("\n".join(names[case] for case in found))
        return
    if missing := options.unlisted():
        print(f"note: no cases for the options {', '.join(missing)}", file=sys.stderr)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started = time.monotonic()
    judged = []
    with tempfile.TemporaryDirectory(prefix="inputs") as temporary:
        workplace = Path(temporary)
        for name in ("material", "cache", "home", "cases"):
            (workplace / name).mkdir()
        os.environ |= {
            "LATENT_RL_CACHE": f"{workplace}/cache",
            "HOME": f"{workplace}/home",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        made = material.make(workplace / "material")
        sandbox.load_programs()
        processes = arguments.processes
        # Areas mixed, so that a run that is stopped has seen something of each.
        mixed = random.Random(0).sample(found, len(found))
        try:
            for number, outcome in sandbox.run_cases(mixed, made, workplace / "cases", processes=processes):
                judged.append((mixed[number], outcome, *judge(mixed[number], outcome)))
                if sys.stderr.isatty():
                    print(f"\r{len(judged)} of {len(found)}", end="", file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            print(f"stopped after {len(judged)} of {len(found)} cases", file=sys.stderr)
    order = {case: number for number, case in enumerate(found)}
    judged.sort(key=lambda one: order[one[0]])

    if not arguments.quiet:
        for case, _, verdict, why in judged:
            if verdict != "right":
                print(f"{verdict:>9}  {case.area}: {case.name}\n           {why}")
    print("\n".join(table((case, verdict) for case, _, verdict, _ in judged)))
    print(f"{time.monotonic() - started:.0f} s")
    if arguments.json is not None:
        rows = [
            {
                "area": case.area,
                "name": case.name,
                "program": case.program,
                "arguments": [one if len(one) < 500 else f"{one[:500]}..." for one in case.arguments],
                "expected": case.expected,
                "verdict": verdict,
                "why": why,
                "code": outcome.code,
                "seconds": outcome.seconds,
                "changed": list(outcome.changed[:10]),
                "stderr": outcome.err[-6000:],
            }
            for case, outcome, verdict, why in judged
        ]
        arguments.json.write_text(json.dumps(rows, indent=1))
    raise SystemExit(len(judged) < len(found) or any(verdict != "right" for _, _, verdict, _ in judged))


if __name__ == "__main__":
    main()
