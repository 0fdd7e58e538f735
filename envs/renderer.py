"""How boards are drawn: the colours that boards and the other figures share."""

from __future__ import annotations

from typing import NamedTuple

# Okabe and Ito's colours, told apart by colour-blind readers too; every colour here also has a marker or a dash.
BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
INK, FRAME, STROKE = "#222222", "#9a9a9a", "#8c2d04"


class Shades(NamedTuple):
    """What fills the cells of a board."""

    given: str
    right: str
    wrong: str
    filled: str


LETTERED_SHADES = Shades(given="#d9d9d9", right="#b9e3d6", wrong="#f6c9a8", filled="#bcdcf0")
BARE_SHADES = Shades(given="#5f5f5f", right=GREEN, wrong=VERMILLION, filled=BLUE)
