"""What an outcome is worth, and the table of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from sandbox import Outcome
from tables.case import Case

VERDICTS = ("right", "traceback", "hang", "late", "nonsense", "overlong", "other")
"""`hang`: it ran into a limit of time or memory; `late`: found out after a second of work or after output, or something
was left behind; `nonsense`: a bad input was accepted; `other`: no line, several lines, a line that does not name what
is wrong, or a good input refused."""

LONGEST_LINE = 300
LATE_SECONDS = 1.0
_MEMORY = ("MemoryError", "std::bad_alloc")


def judge(case: Case, outcome: Outcome) -> tuple[str, str]:
    """The verdict, one of `VERDICTS`, and why in a few words (empty if it is right)."""
    last = outcome.err.strip().splitlines()[-1][:200] if outcome.err.strip() else ""
    if outcome.killed:
        return "hang", "ended by the limit of time"
    if any(word in outcome.err for word in _MEMORY) or outcome.code in (-6, -9, -11):
        return "hang", f"out of memory: {last}"
    if "Traceback (most recent call last)" in outcome.err:
        return "traceback", last
    if outcome.code == 0:
        if case.expected == "refused" or outcome.harmless is False:
            return "nonsense", "accepted"
        return "right", ""
    if case.expected == "accepted":
        return "other", f"a good input refused ({outcome.code}): {last}"
    if outcome.code != 2:
        return "other", f"exit code {outcome.code}: {last}"
    return _judge_refusal(case, outcome)


def _judge_refusal(case: Case, outcome: Outcome) -> tuple[str, str]:
    lines = outcome.err.splitlines()
    if (
        len(lines) > 1
        and lines[-1].startswith("error: ")
        and (outcome.changed or (outcome.seconds or 0) > LATE_SECONDS)
    ):
        return "late", f"after {len(lines) - 1} lines on stderr, left {len(outcome.changed)} files: {lines[-1][:150]}"
    if len(lines) != 1 or not outcome.err.endswith("\n"):
        return "other", f"{len(lines)} lines on stderr, the first: {lines[0][:120] if lines else ''!r}"
    line = lines[0]
    if not line.startswith("error: "):
        return "other", f"the line does not begin with 'error: ': {line[:120]}"
    if outcome.out:
        return "late", f"after {len(outcome.out)} characters on stdout: {line[:150]}"
    if len(line) > LONGEST_LINE:
        return "overlong", f"{len(line)} characters: {line[:100]} ..."
    if not line.isprintable():
        return "other", f"control characters in {line[:150]!r}"
    if case.named and not any(word in line for word in case.named):
        return "other", f"names none of {', '.join(case.named)}: {line[:200]}"
    if outcome.changed:
        return "late", f"left {', '.join(outcome.changed[:3])}: {line[:150]}"
    if not case.real and outcome.seconds is not None and outcome.seconds > LATE_SECONDS:
        return "late", f"after {outcome.seconds:.1f} s: {line[:150]}"
    return "right", ""


def table(judged: Iterable[tuple[Case, str]]) -> list[str]:
    """Lines of text: one row an area, one column a verdict."""
    counts: dict[str, Counter[str]] = {}
    for case, verdict in judged:
        counts.setdefault(case.area, Counter())[verdict] += 1
    counts["all"] = sum(counts.values(), Counter())
    width = max(map(len, counts))
    lines = [" ".join([f"{'area':{width}}", f"{'cases':>9}", *(f"{verdict:>9}" for verdict in VERDICTS)])]
    for area, found in counts.items():
        numbers: Sequence[int] = [found.total(), *(found[verdict] for verdict in VERDICTS)]
        lines.append(" ".join([f"{area:{width}}", *(f"{number or '.':>9}" for number in numbers)]))
    return lines
