"""The report of an analysis: what was found in words, `report.md` with its figures, and `analysis.json`."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latent_rl.agents import NEGLIGIBLE_MARGIN
from latent_rl.measuring import ENOUGH_WITHIN, QUANTILES, Analysis
from latent_rl.reporting.analysis_figures import calibration, guidance, improvement, movement, stopping
from latent_rl.reporting.files import write
from latent_rl.reporting.style import save
from latent_rl.reporting.text import markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REPORT_FILE, JSON_FILE = "report.md", "analysis.json"

FIGURES = {
    "stopping": "What if we had stopped after each step: accuracy against network passes.",
    "improvement": "Advantage margin of every step, and the share of puzzles on which the step is dead compute.",
    "movement": "How far every step moves the latents, and how much of the answer it changes.",
    "guidance": "Guided readout: accuracy at weight w, for the last step and for every step.",
    "calibration": "How often an answer is right, by how sure the value head is of it.",
}
"""Figures of the page, by the name of their file."""


def write_report(folder: Path, found: Analysis, *, checkpoint: str, puzzle: str) -> None:
    """Leave report, figures and numbers in a folder.

    Raises:
        UserError: if something cannot be written there.
    """
    for name, figure in figures(found).items():
        save(figure, folder / f"{name}.png")
    write(folder / REPORT_FILE, report(found, checkpoint=checkpoint, puzzle=puzzle))
    write(folder / JSON_FILE, json.dumps(as_dict(found, checkpoint=checkpoint, puzzle=puzzle), indent=2) + "\n")


def as_dict(found: Analysis, *, checkpoint: str, puzzle: str) -> dict[str, Any]:
    """The content of `analysis.json`."""
    return {
        "checkpoint": checkpoint,
        "puzzle": puzzle,
        "steps": found.steps,
        "exact_accuracy": found.accuracy_by_step[-1],
        "enough_steps": found.enough_steps,
        "enough_passes": found.passes_by_step[found.enough_steps - 1],
        "dead_from_step": found.dead_from_step,
        "calibration_error": found.calibration_error,
        "continue_calibration_error": found.continue_calibration_error,
        "margin_quantiles": list(QUANTILES),
        **asdict(found),
    }


def figures(found: Analysis) -> dict[str, Figure]:
    """The figures of the page, by the names of `FIGURES`."""
    return {
        "stopping": stopping(found),
        "improvement": improvement(
            found.margin_by_step,
            found.dead_share_by_step,
            quantiles=found.margin_quantiles_by_step,
            stuck_shares=found.stuck_share_by_step,
        ),
        "movement": movement(found),
        "guidance": guidance(found),
        "calibration": calibration(found),
    }


def findings(found: Analysis) -> list[str]:
    """What the numbers say, one paragraph of plain Markdown each."""
    return [_stopping(found), _oracle(found), _dead(found), _guidance(found), _movement(found), _calibration(found)]


def report(found: Analysis, *, checkpoint: str, puzzle: str) -> str:
    """The page `report.md`: findings, figures, a table, and what the words mean."""
    lines = [
        f"# What each recursion step is worth: {puzzle}",
        "",
        f"`{checkpoint}`, {found.puzzles:,} test puzzles, {found.steps} recursion steps of "
        f"{found.passes_by_step[0]:g} network passes. After the last step {found.accuracy_by_step[-1]:.1%} of the "
        f"answers are exactly right, {found.solved_by_step[-1]:.1%} solved by the puzzle's rule, "
        f"{found.cells_by_step[-1]:.2%} of the cells right.",
        "",
        "## What was found",
        "",
    ]
    for paragraph in findings(found):
        lines += [paragraph, ""]
    for name, caption in FIGURES.items():
        lines += [f"![{caption}]({name}.png)", ""]
    lines += ["## Step by step", "", _table(found), "", "## What the words mean", "", *_glossary(found)]
    return "\n".join(lines) + "\n"


def _stopping(found: Analysis) -> str:
    steps, passes, accuracy = found.steps, found.passes_by_step, found.accuracy_by_step
    best = max(range(steps), key=lambda step: (accuracy[step], -step))
    if steps == 1:
        return f"**Stopping early.** There is a single step, of {passes[0]:g} network passes: nothing to stop before."
    enough = found.enough_steps
    if enough == steps:
        text = (
            f"**Stopping early.** Every step counts: before the last of the {steps} steps accuracy is more than "
            f"{100 * ENOUGH_WITHIN:g} points lower ({accuracy[-2]:.1%} against {accuracy[-1]:.1%})."
        )
    else:
        text = (
            f"**Stopping early.** {passes[enough - 1]:g} of the {passes[-1]:g} network passes would have sufficed: "
            f"after step {enough} of {steps}, {accuracy[enough - 1]:.1%} of the answers are exactly right, against "
            f"{accuracy[-1]:.1%} at the end. The other {1 - passes[enough - 1] / passes[-1]:.0%} of the compute buys "
            f"{100 * (accuracy[-1] - accuracy[enough - 1]):+.1f} points."
        )
    if accuracy[best] - accuracy[-1] > ENOUGH_WITHIN:
        text += (
            f" Going on does harm: accuracy is highest after step {best + 1} ({accuracy[best]:.1%}) and falls by "
            f"{100 * (accuracy[best] - accuracy[-1]):.1f} points until the end."
        )
    return text


def _oracle(found: Analysis) -> str:
    lost = found.oracle_by_step[-1] - found.accuracy_by_step[-1]
    return (
        f"**Lost again.** {found.oracle_by_step[-1]:.1%} of the puzzles were exactly right at some step. This is no "
        "accuracy, since only the answer key knows which step that was; it bounds what a stopping rule could reach: "
        f"at most {100 * lost:.1f} points above the accuracy of the last step."
    )


def _dead(found: Analysis) -> str:
    dead, stuck = found.dead_share_by_step, found.stuck_share_by_step
    first = found.dead_from_step
    if first is None:
        # Not "never": an earlier step may be.
        text = f"**Dead compute.** The last step still improves the policy on {1 - dead[-1]:.0%} of the puzzles"
        most = [str(step) for step, share in enumerate(dead, start=1) if share > 0.5]
        text += f"; dead on most puzzles: step {', '.join(most)}." if most else "; no step is dead on most puzzles."
    elif first == found.steps:
        text = f"**Dead compute.** The last step is dead on most puzzles ({dead[-1]:.0%})."
    else:
        text = (
            f"**Dead compute.** From step {first} on every step is dead on most puzzles "
            f"({dead[first - 1]:.0%} at step {first}, {dead[-1]:.0%} at step {found.steps}): no weight of the step "
            "makes the solution likelier."
        )
    share = sum(dead) / found.steps
    text += f" Over all steps that is {share:.0%} of the network passes"
    if share > 0:
        text += f", {sum(stuck) / sum(dead):.0%} of them on puzzles whose answer was still wrong"
    return (
        f"{text}. At the last step {found.no_gain_share_by_step[-1]:.0%} of the solutions gained no likelihood at all, "
        f"and {stuck[-1]:.1%} of the puzzles were wrong and stuck."
    )


def _guidance(found: Analysis) -> str:
    last, plain = found.guided_accuracy_by_step[-1], found.accuracy_by_step[-1]
    # Of equally good weights the one nearest to the plain readout.
    weight, best = max(
        zip(found.guidance_weights, last, strict=True), key=lambda pair: (round(pair[1], 9), -abs(pair[0] - 1))
    )
    won = best - plain
    error = math.sqrt(max(plain * (1 - plain), 1 / found.puzzles) / found.puzzles)
    if won <= 0:
        return "**Guidance.** No weight of the guided readout beats the plain one (w = 1) at the last step."
    text = (
        f"**Guidance.** The best weight of the last step's readout, w = {weight:g}, wins {100 * won:.1f} points of "
        f"exact accuracy (on {found.puzzles:,} puzzles) over the plain readout, "
    )
    if won <= 2 * error:
        return text + (
            f"which is within two standard errors of the accuracy ({200 * error:.1f} points), with w chosen on these "
            "very puzzles: too little to say that guidance helps."
        )
    return text + (
        f"more than two standard errors ({200 * error:.1f} points). The weight was chosen on these very puzzles, so "
        "check it on others before relying on it. It costs no network pass."
    )


def _movement(found: Analysis) -> str:
    y, changed = found.y_distance_by_step, [1 - share for share in found.unchanged_share_by_step]
    text = (
        f"**Movement.** The last step moves y by {y[-1]:.2%} of its length and z by "
        f"{found.z_distance_by_step[-1]:.2%}, and changes a cell on {changed[-1]:.1%} of the puzzles"
    )
    if found.steps == 1:
        return f"{text}."
    shrinks = y[-1] < 0.5 * y[1] if found.steps > 2 else y[-1] < 0.5 * y[0]
    if y[-1] < 0.05:
        return f"{text}: the latents have nearly come to rest."
    return f"{text}: the latents are {'still settling' if shrinks else 'not settling'}."


def _calibration(found: Analysis) -> str:
    rows = [row for row in found.reliability if row[0]]
    cases, confidence = sum(row[0] for row in rows), sum(row[0] * row[1] for row in rows)
    right, later = (sum(row[0] * row[column] for row in rows) / cases for column in (2, 3))
    confidence /= cases
    text = (
        f"**Calibration.** Over the answers of all steps the value head expects {confidence:.1%} to be right, and "
        f"{right:.1%} are; expected calibration error {found.calibration_error:.1%}, after the last step "
        f"{found.calibration_error_by_step[-1]:.1%}. By the end {later:.1%} would be right."
    )
    if found.continue_calibration_error is not None:
        text += f" The continue value is off by {found.continue_calibration_error:.1%} (expected calibration error)."
    if found.calibration_error > 0.05:
        return f"{text} It cannot be taken at its word (or it was never trained)."
    return text


def _table(found: Analysis) -> str:
    head = (
        "step",
        "passes",
        "exactly right",
        "solved",
        "right so far (no accuracy)",
        "likelihood gained",
        "margin, mean",
        "margin, median",
        "dead",
        "dead and wrong",
        "cells changed",
        "y moved",
        "z moved",
    )
    rows = []
    for step in range(found.steps):
        rows.append(
            (
                str(step + 1),
                f"{found.passes_by_step[step]:g}",
                f"{found.accuracy_by_step[step]:.1%}",
                f"{found.solved_by_step[step]:.1%}",
                f"{found.oracle_by_step[step]:.1%}",
                f"{found.gain_by_step[step]:+.4f}",
                f"{found.margin_by_step[step]:+.4f}",
                f"{found.margin_quantiles_by_step[step][2]:+.4f}",
                f"{found.dead_share_by_step[step]:.1%}",
                f"{found.stuck_share_by_step[step]:.1%}",
                f"{found.changed_cells_by_step[step]:.2%}",
                f"{found.y_distance_by_step[step]:.2%}",
                f"{found.z_distance_by_step[step]:.2%}",
            )
        )
    return markdown_table(head, rows)


def _glossary(found: Analysis) -> list[str]:
    return [
        "- *Reference* and *conditional logits* l_u and l_c are decoded before and after a step, dl = l_c - l_u; the "
        "reference of step 1 is decoded from the initial latent.",
        "- *Advantage margin*: dl[y\\*] - E over a ~ softmax(l_u) of dl[a], mean over the counted cells of a puzzle; "
        "minus the slope of the cross-entropy of l_w = l_u + w dl at w = 0 (DIS, arXiv 2511.16886, proposition 4.1).",
        f"- *Dead*: the margin is at most {NEGLIGIBLE_MARGIN:g}. Cross-entropy is convex in w, so a step gains no "
        "more than its margin, and with a negative one no w > 0 makes the solution likelier.",
        "- *Likelihood gained*: nats a cell, by the step as it was taken (w = 1).",
        "- *Right so far*: exactly right at this step or any before; not an accuracy, since only the key can tell.",
        "- *Moved*: |new - old| / |old|, Euclidean, mean over puzzles.",
        "- *Expected calibration error*: mean distance between confidence and share of right answers over ten bins of "
        "confidence, weighted by their answers.",
        f"- *Guided readout*: the answer read from l_w. The latents go on unguided; every w costs the same "
        f"{found.passes_by_step[-1]:g} passes.",
    ]
