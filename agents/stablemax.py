"""What turns logits into probabilities."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Kind = Literal["stablemax", "softmax"]
"""`"stablemax"` (TRM, DIS) or `"softmax"`."""


def stablemax_logits(logits: Tensor) -> Tensor:
    """Logits whose softmax is the stablemax of `logits`.

    Stablemax (Prieto et al., arXiv 2501.04697; used by TRM and DIS) normalises `s(x) = x + 1` for `x >= 0`,
    `1 / (1 - x)` otherwise, in place of `exp(x)`. This returns `log s(x) = sign(x) log(1 + |x|)`, in float64 as in the
    official code, or float32 on devices without float64 (MPS).
    """
    x = logits if logits.device.type == "mps" else logits.double()
    # Each branch sees only its own half line, so that the other's gradient cannot turn into 0 * inf.
    return torch.where(x < 0, -torch.log1p(-x.clamp(max=0)), torch.log1p(x.clamp(min=0)))
