"""What a fault's case works with: a folder of its own, the programs, and the promises to hold them to."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hammer.folders import differences
from hammer.modes import MODES, NAME, References
from hammer.report import Result
from hammer.runner import LIMIT_SECONDS, Outcome, Running

MOST_LINES = 4
"""More than an undisturbed run writes on standard error: what was not written, in one line each."""

LONGEST_LINE = 400

USUAL = re.compile(
    r"^\s*$|parameters on |updates .* exact |^measuring on all|^stopped and saved|^run \d+ of \d+|^the same command"
)
"""Lines that an undisturbed or interrupted run writes there as well."""


class Bench:
    """One case at work.

    Attributes:
        folder: where the programs run; empty at first, but for the trained model that a mode starts from.
        run_dir: of the training runs in it.
        result: where complaints and figures are kept.
    """

    def __init__(self, references: References, result: Result, mode: str = "pi") -> None:
        self.references = references
        self.stable = references.stable
        self.result = result
        self.mode = mode
        self.folder = references.new_folder(mode)
        self.run_dir = self.folder / MODES[mode].out

    def start(self, *arguments: object, **how: Any) -> Running:
        """Start the mode's program; arguments come after its own. See `Stable.start`."""
        return self.stable.start(self.folder, *MODES[self.mode].begin(), *arguments, **how)

    def run(self, *arguments: object, limit: float = LIMIT_SECONDS, **how: Any) -> Outcome:
        return self.start(*arguments, **how).wait(limit)

    def start_again(self, *arguments: object, **how: Any) -> Running:
        """Go on, as its user would."""
        return self.stable.start(self.folder, *MODES[self.mode].go_on(self.folder), *arguments, **how)

    def program(self, program: str, *arguments: object, **how: Any) -> Outcome:
        """Any program, in the case's folder."""
        return self.stable.run(self.folder, program, *arguments, **how)

    def expect(self, promise: bool, symptom: str) -> bool:
        """Note a symptom unless the promise was kept."""
        if not promise:
            self.result.symptoms.append(symptom)
        return promise

    def ended(
        self,
        outcome: Outcome,
        *codes: int,
        says: str = "",
        faults: bool = True,
        what: str = "",
        lines: int = MOST_LINES,
    ) -> None:
        """It ended with one of these codes and said in one line what went wrong (`says`, a regular expression)."""
        what = what and f"{what}: "
        if not self.expect(outcome.code is not None, f"{what}did not end in time; last line: {outcome.last_line()}"):
            return
        said = outcome.err + outcome.out
        if faults and outcome.journal:
            self.expect(outcome.faults > 0, f"{what}the fault never happened: this case no longer tests anything")
        self.expect(
            outcome.code in codes,
            f"{what}code {outcome.code}, not {' or '.join(map(str, codes))}; last line: {outcome.last_line()}",
        )
        self.expect("Traceback (most" not in said, f"{what}a traceback that ends with: {outcome.last_line()}")
        news = complaints(outcome.err)
        self.expect(
            len(news) <= lines, f"{what}{len(news)} lines of complaint, not one; the first: {(news or [''])[0][:120]}"
        )
        self.expect(
            all(len(line) <= LONGEST_LINE for line in news),
            f"{what}a line of {max(map(len, news), default=0)} characters",
        )
        if says:
            self.expect(
                any(re.search(says, line) for line in news), f"{what}no line says {says!r}; last: {outcome.last_line()}"
            )

    def same(self, *ignored: str) -> None:
        """All that an undisturbed run leaves lies here, equal; nothing else, but what matches `ignored`.

        Not looked at where a promise was broken already.
        """
        if self.result.symptoms:
            return  # what is missing after that says nothing new
        found = differences(self.references.folder(self.mode), self.folder)
        found = [line for line in found if not any(re.search(pattern, line) for pattern in ignored)]
        self.result.symptoms += found[:3]

    def goes_on(self, *arguments: object, ignored: tuple[str, ...] = ()) -> None:
        """With the fault gone, the run goes on, and to the very end of an undisturbed one."""
        outcome = self.start_again(*arguments).wait()
        self.ended(outcome, 0, faults=False, what="afterwards")
        self.same(*ignored)

    def finished(self) -> None:
        """The result of the training lies there, and is an undisturbed run's."""
        reference = self.references.folder(self.mode) / MODES[self.mode].out
        for name in ("checkpoint/model.pt", "summary.json"):
            found, expected = self.run_dir / name, reference / name
            if not self.expect(found.is_file(), f"{name} is missing: a finished result is lost"):
                continue
            if name.endswith(".json"):
                values, others = (json.loads(path.read_text()) for path in (expected, found))
                key = "exact_accuracy"
                self.expect(values[key] == others[key], f"{name}: {key} is {others[key]}, not {values[key]}")

    def checkpoint_loads(self, folder: Path | None = None) -> None:
        """The last checkpoint, from before the fault, can be used."""
        outcome = self.program("solve", folder or f"runs/{NAME}", "4..2.....4..321.", "--device", "cpu")
        self.expect(outcome.code == 0, f"the checkpoint cannot be used: {outcome.last_line()}")

    @property
    def patience(self) -> float:
        """Seconds that a run of this mode may take on this machine, as busy as it is."""
        return 3 * self.references.seconds(self.mode) + 5

    def until_steps(self, running: Running, steps: int) -> bool:
        """Wait until so many optimizer steps were made."""
        return running.until(lambda: running.count("step") >= steps)

    def end(self, running: Running) -> None:
        """SIGKILL."""
        running.signal(signal.SIGKILL)
        running.wait()


def complaints(text: str) -> list[str]:
    """Lines that are not those of an undisturbed run: where it stands, what was measured."""
    return [line for line in text.splitlines() if not USUAL.search(line)]


@dataclass(frozen=True)
class Case:
    """A fault: `body` does it to a bench, and holds what happens to the promises."""

    group: str
    name: str
    body: Callable[[Bench], None]
    mode: str = "pi"


CASES: list[Case] = []


def case(
    group: str, mode: str = "pi", **choices: Iterable[Any]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as a case by its name, or as one for each value of its one further argument."""

    def register(body: Callable[..., None]) -> Callable[..., None]:
        name = body.__name__.replace("_", "-")
        if not choices:
            CASES.append(Case(group, name, body, mode))
        for argument, values in choices.items():
            for value in values:
                label = re.sub(r"[^\w.-]+", "-", str(value)).strip("-")

                def chosen(bench: Bench, argument: str = argument, value: Any = value) -> None:
                    body(bench, **{argument: value})

                CASES.append(Case(group, f"{name}-{label}", chosen, mode))
        return body

    return register
