"""ARC-AGI as a puzzle family."""

from latent_rl.envs.arc.canvas import decode
from latent_rl.envs.arc.puzzle import Arc

__all__ = [
    "Arc",
    "decode",
]
