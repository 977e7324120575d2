"""The canvas's named colours, and the nearest one to a hex value (pure)."""

import re

HEX_COLOR = re.compile(r"#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})")

_Lab = tuple[float, float, float]

# name: (lines and solid fills, note paper), as tldraw 3.15.6 shows them in its light theme.
_SHOWN = {
    "black": ("#1d1d1d", "#fce19c"),
    "grey": ("#9fa8b2", "#c0cad3"),
    "light-violet": ("#e085f4", "#dfb0f9"),
    "violet": ("#ae3ec9", "#db91fd"),
    "blue": ("#4465e9", "#8aa3ff"),
    "light-blue": ("#4ba1f1", "#9bc4fd"),
    "yellow": ("#f1ac4b", "#fed49a"),
    "orange": ("#e16919", "#faa475"),
    "green": ("#099268", "#6fc896"),
    "light-green": ("#4cb05e", "#98d08a"),
    "light-red": ("#f87777", "#f7a5a1"),
    "red": ("#e03131", "#fc8282"),
    "white": ("#ffffff", "#ffffff"),
}
COLORS = tuple(_SHOWN)


def nearest_color(hex_color: str, *, paper: bool) -> str:
    """Return the name of the colour that looks most like `#rgb` or `#rrggbb`; `paper` among those of notes.

    The distance is Euclidean in OKLab (Ottosson 2020), where equal steps look equal.
    """
    wanted = _lab(hex_color)
    labs = _PAPER if paper else _SOLID
    return min(labs, key=lambda name: sum((a - b) ** 2 for a, b in zip(labs[name], wanted, strict=True)))


def _lab(hex_color: str) -> _Lab:
    digits = hex_color.removeprefix("#")
    if len(digits) == 3:
        digits = "".join(digit * 2 for digit in digits)
    r, g, b = (_linear(int(digits[at : at + 2], 16) / 255) for at in (0, 2, 4))
    long = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3)
    medium = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3)
    short = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3)
    return (
        0.2104542553 * long + 0.7936177850 * medium - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short,
    )


def _linear(channel: float) -> float:
    """Undo sRGB's gamma (IEC 61966-2-1)."""
    return float(channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4)


_SOLID = {name: _lab(solid) for name, (solid, _) in _SHOWN.items()}
_PAPER = {name: _lab(paper) for name, (_, paper) in _SHOWN.items()}
