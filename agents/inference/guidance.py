"""A recursion step as policy improvement: guided readout, advantage margin, likelihood gained (DIS, arXiv 2511.16886).

Decoding the answer latent before a step gives the reference logits `l_u`, after it the conditional logits `l_c`. Their
residual `dl = l_c - l_u` is the direction in which the step moved the policy of every cell, and
`l_w = l_u + w dl` goes along it: `w = 0` is the policy before the step, `w = 1` the plain readout after it.

By proposition 4.1 of DIS the derivative of the softmax cross-entropy of `l_w` with respect to `w` is minus the
advantage margin at `w`. Cross-entropy is convex in `w`, so the margin only falls as `w` grows, and

    margin at w = 1  <=  log-likelihood gained by the step  <=  margin at w = 0.

A margin at `w = 0` that is not positive therefore says that no weight makes the step help: it is dead compute. All of
this holds for a cell, and for the mean over the cells of a puzzle.

Latents that have come to rest still tremble in their last bits, and the sign of such a margin is a coin's. So dead is
already a step that cannot gain as much as `NEGLIGIBLE_MARGIN`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from latent_rl.agents.targets import IGNORE

NEGLIGIBLE_MARGIN = 1e-4
"""Advantage margin, and so the most that the step can gain, in nats a cell, up to which a step counts as dead."""


def guided_logits(reference: Tensor, conditional: Tensor, weight: float | Tensor) -> Tensor:
    """The guided readout `l_w = l_u + w (l_c - l_u)` of DIS; costs no network pass.

    Args:
        reference, conditional: float `[*B, L, V]`, logits before and after the step.
        weight: `w`, a number or what broadcasts against the logits.

    Returns:
        float `[*B, L, V]`; exactly `conditional` at the number 1.

    Raises:
        ValueError: the two logits differ in shape.
    """
    if reference.shape != conditional.shape:
        raise ValueError(
            f"logits before the step {tuple(reference.shape)} and after it {tuple(conditional.shape)} differ in shape"
        )
    # Not `reference + weight * residual`, whose rounding would let the plain readout differ from itself.
    return torch.lerp(reference, conditional, weight)


def cell_margin(reference: Tensor, conditional: Tensor, solution: Tensor, weight: float | Tensor = 0.0) -> Tensor:
    """Advantage margin `dl[y*] - E_{a ~ softmax(l_w)} dl[a]` of every cell, 0 where the solution is `IGNORE`.

    Args:
        reference, conditional: float `[*B, L, V]`, logits before and after the step.
        solution: int64 `[*B, L]`, tokens or `IGNORE`.
        weight: `w`, where on the way from reference (0) to conditional (1) and beyond the margin is taken.

    Returns:
        float `[*B, L]`, minus the derivative with respect to `w` of the cell's cross-entropy.

    Raises:
        ValueError: the shapes do not fit.
    """
    policy = guided_logits(reference, conditional, weight).softmax(-1)
    residual = conditional - reference
    # As the mean of differences to dl[y*], not the difference of means: where the policy is all but sure of y* both
    # means are nearly equal, and their difference would be rounding, sign included.
    ahead = _at(residual, solution).unsqueeze(-1) - residual
    return _counted(solution, (policy * ahead).sum(-1))


def advantage_margin(reference: Tensor, conditional: Tensor, solution: Tensor, weight: float | Tensor = 0.0) -> Tensor:
    """Mean of `cell_margin` over the counted cells of every puzzle, float `[*B]`; 0 for one without counted cells.

    Arguments and errors are those of `cell_margin`.
    """
    return _mean(cell_margin(reference, conditional, solution, weight), solution)


def is_dead(margin: Tensor) -> Tensor:
    """Whether steps were dead compute, bool `[*B]`, by their margin at `w = 0`, float `[*B]`."""
    return margin <= NEGLIGIBLE_MARGIN


def likelihood_gain(reference: Tensor, conditional: Tensor, solution: Tensor) -> Tensor:
    """Change of the solution's log-likelihood by the step, mean over the counted cells of every puzzle, float `[*B]`.

    Arguments and errors are those of `cell_margin`.
    """
    if reference.shape != conditional.shape:
        raise ValueError(
            f"logits before the step {tuple(reference.shape)} and after it {tuple(conditional.shape)} differ in shape"
        )
    return _mean(_at(conditional.log_softmax(-1) - reference.log_softmax(-1), solution), solution)


def _at(values: Tensor, solution: Tensor) -> Tensor:
    """`values[..., y*]` of every cell, `[*B, L]`, 0 where the solution is `IGNORE`."""
    if values.shape[:-1] != solution.shape:
        raise ValueError(
            f"logits of shape {tuple(values.shape)} do not fit a solution of shape {tuple(solution.shape)}: "
            "it must have the shape of the logits without the last dimension"
        )
    chosen = values.gather(-1, solution.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return _counted(solution, chosen)


def _counted(solution: Tensor, values: Tensor) -> Tensor:
    return values.masked_fill(solution == IGNORE, 0.0)


def _mean(values: Tensor, solution: Tensor) -> Tensor:
    return values.sum(-1) / (solution != IGNORE).sum(-1).clamp(min=1)
