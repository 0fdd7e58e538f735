"""Numbers with their intervals, and tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from latent_rl.measuring import Estimate, Ratio

FEW_SEEDS = 3
"""So few seeds speak for themselves: an interval from them can reach from one end of the scale to the other."""


def share(estimate: Estimate) -> str:
    """`97.1% [96.0, 98.2]`, or, of few seeds that differ, all of them: `97.1% (96.5, 97.3, 97.5)`."""
    text = f"{estimate.mean:.1%}"
    seeds = [f"{100 * value:.1f}" for value in estimate.by_seed]
    if _speak_for_themselves(seeds):
        return f"{text} ({', '.join(seeds)})"
    return text if estimate.low is None else f"{text} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def number(estimate: Estimate) -> str:
    """`1.23 M [1.1 M, 1.36 M]`; of few seeds all of them: `1.23 M (1.1 M, 1.36 M)`; one number if all agree."""
    text = short(estimate.mean)
    seeds = [short(value) for value in estimate.by_seed]
    if _speak_for_themselves(seeds):
        return f"{text} ({', '.join(seeds)})"
    if len(seeds) <= FEW_SEEDS:
        return text
    return text if estimate.low in (None, estimate.mean) else f"{text} [{short(estimate.low)}, {short(estimate.high)}]"


def _speak_for_themselves(seeds: Sequence[str]) -> bool:
    return len(set(seeds)) > 1 and len(seeds) <= FEW_SEEDS


def times(ratio: Ratio) -> str:
    """`18.7x [12.1, 28.9]`, or the reason why there is no number."""
    if ratio.value is None:
        return ratio.note
    text = f"{ratio.value:.3g}x"
    return text if ratio.low in (None, ratio.value) else f"{text} [{ratio.low:.3g}, {ratio.high:.3g}]"


def fewer(times: float, what: str = "") -> str:
    """What a saving is called, `18.7x fewer than` or, where it is none, `2.1x as many as`.

    Args:
        times: what is compared with, divided by what was spent.
        what: stands before the last word, for instance `network passes`.
    """
    many, end = (f"{times:.1f}x fewer", "than") if times >= 1 else (f"{1 / times:.1f}x as many", "as")
    return " ".join(filter(None, (many, what, end)))


def short(value: float) -> str:
    """Three digits, with k, M, G for large numbers."""
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e4, " k")):
        if abs(value) >= size:
            return f"{value / (1e3 if size == 1e4 else size):.3g}{letter}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, first: str = "---:") -> str:
    """A table of Markdown; `first` aligns the first column, the others stand to the right."""
    rules = [first, *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in [head, rules, *rows])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
