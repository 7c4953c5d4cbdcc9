"""Common style: colours, axes, headings, sanitized text, saving. No pyplot, no global state."""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.colors import to_rgba_array
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator, ScalarFormatter
from numpy.typing import NDArray

from vaelab.store import write_atomic

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]
Bools = NDArray[np.bool_]

INK, MUTED, GRID, GREY = "#1f2933", "#66717f", "#e6e9ee", "#b3bcc7"
BLUE, LIGHT, ORANGE, RED = "#2463a8", "#8db6de", "#d9641e", "#b2182b"
# Paul Tol's "muted" scheme and one orange: ten hues that stay distinct with common colour blindness.
PALETTE = (
    "#332288", "#ee7733", "#44aa99", "#cc6677", "#88ccee",
    "#117733", "#ddaa33", "#aa4499", "#999933", "#882255",
)  # fmt: skip
MARKERS = ("o", "^")  # classes 11 to 20 repeat the hues with the second marker
MAX_CLASSES = len(PALETTE) * len(MARKERS)

DPI = 100
WIDTH = 9.0  # inches, so 900 px
FONT = "DejaVu Sans"  # ships with matplotlib: the same picture on every machine
NATS = "nats per example"
HEAD = 0.72  # inches that the heading takes


@functools.cache
def _glyphs() -> frozenset[int]:
    path = font_manager.findfont(font_manager.FontProperties(family=FONT))
    return frozenset(font_manager.get_font(path).get_charmap())


def clean(text: object, limit: int = 40) -> str:
    r"""External text made safe to draw: one line, at most `limit` characters, no mathtext, no missing glyphs.

    >>> clean("cost in $\nand \N{POUND SIGN}", 12), clean("a" * 50, 5)
    ('cost in \\$ a…', 'aaaa…')
    """
    line = _line(text, limit)
    line = line if len(line) <= limit else line[: limit - 1] + "…"
    return line.replace("$", r"\$")


def _line(text: object, limit: int) -> str:
    line = " ".join(str(text)[: 8 * limit + 64].split())
    return "".join(c if c.isprintable() and ord(c) in _glyphs() else "\N{REPLACEMENT CHARACTER}" for c in line)


def _both_ends(text: object, limit: int) -> str:
    """Like `clean`, but shortened in the middle."""
    line, tail = _line(text, limit), limit // 2
    line = line if len(line) <= limit else f"{line[: limit - tail - 1]}…{line[len(line) - tail :]}"
    return line.replace("$", r"\$")


def clean_names(names: Sequence[object], limit: int) -> list[str]:
    """Names made safe to draw: where their starts are equal shortened in the middle, and if that leaves two of them
    equal, numbered by position.
    """
    starts = [clean(name, limit) for name in names]
    short = [_both_ends(name, limit) if starts.count(at) > 1 else at for name, at in zip(names, starts, strict=True)]
    return [
        f"{clean(names[i], max(2, limit - 4))} #{i}" if short.count(name) > 1 else name for i, name in enumerate(short)
    ]


def side_names(names: Sequence[object], inches: float) -> tuple[list[str], float]:
    """Names made safe to draw beside an axis, at most 40 letters and `inches` wide; and the inches of the widest."""
    renderer = RendererAgg(DPI, DPI, DPI)
    font = font_manager.FontProperties(family=FONT, size=9)
    for letters in range(40, 7, -4):
        short = clean_names(names, letters)
        whole = (name.replace(r"\$", "$") for name in short)
        widest = max(renderer.get_text_width_height_descent(name, font, False)[0] for name in whole) / DPI
        if widest <= inches:
            break
    return short, float(widest)


def canvas(height: float, width: float = WIDTH) -> Figure:
    """An empty white figure of `width` x `height` inches with its own Agg canvas."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def place(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Bare axes at a position in inches; a layout engine would draw every picture twice."""
    w, h = figure.get_size_inches()
    axes = figure.add_axes((left / w, bottom / h, width / w, height / h))
    axes.set_facecolor("white")
    return axes


def chart(figure: Figure, left: float, bottom: float, width: float, height: float, *, grid: str = "both") -> Axes:
    """Axes in the common style: two spines, a light grid behind the marks, few ticks."""
    axes = place(figure, left, bottom, width, height)
    for side, spine in axes.spines.items():
        spine.set(visible=side in ("left", "bottom"), color=GREY, linewidth=0.8)
    axes.tick_params(labelsize=9, colors=MUTED, labelcolor=MUTED, length=0, pad=4, labelfontfamily=FONT, which="both")
    axes.set_axisbelow(True)
    axes.grid(False)
    for axis, named in ((axes.xaxis, "x"), (axes.yaxis, "y")):
        if grid in ("both", named):
            axis.grid(True, color=GRID, linewidth=0.8, linestyle="-")
    for axis, inches in ((axes.xaxis, width), (axes.yaxis, height)):
        axis.set_major_locator(MaxNLocator(nbins=max(2, min(6, int(inches * 2))), steps=[1, 2, 2.5, 5, 10]))
        ticks = _Ticks(useOffset=False, useMathText=False, usetex=False)
        ticks.set_powerlimits((-4, 5))
        axis.set_major_formatter(ticks)
    return axes


class _Ticks(ScalarFormatter):
    """Each tick with its own power of ten, such as 4e8: a common one would be drawn over the axis's name."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        if not super().get_offset():
            return str(super().__call__(x, pos))
        digits, _, power = f"{x:.3g}".partition("e")
        return f"{digits}e{int(power)}" if power else digits

    def get_offset(self) -> str:
        return ""


def whole_ticks(axes: Axes) -> None:
    """Ticks at whole numbers on the horizontal axis, for epochs and trial numbers."""
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))


def write(axes: Axes, x: float, y: float, text: str, **look: Any) -> None:
    """Text in the common font at data coordinates; external `text` must be cleaned first."""
    look = {"fontsize": 9, "color": MUTED, "va": "center", **look}
    axes.text(x, y, text, fontfamily=FONT, usetex=False, **look)


def note(axes: Axes, x: float, y: float, text: str, **look: Any) -> None:
    """Like `write`, at a position in axes fractions."""
    write(axes, x, y, text, **{"transform": axes.transAxes, **look})


def name_axes(axes: Axes, x: str = "", y: str = "") -> None:
    """Axis names: x below the axes, y above them on the left, upright."""
    if x:
        axes.set_xlabel(x, fontsize=9, color=MUTED, fontfamily=FONT, labelpad=4)
    if y:
        axes.set_title(y, fontsize=9.5, color=INK, fontfamily=FONT, loc="left", pad=6, y=1.0)


def heading(figure: Figure, title: str, subtitle: str = "") -> None:
    """The title and, in grey below it, the finding; both left-aligned."""
    width, height = figure.get_size_inches()
    fit = int(width * 10.2)
    look: dict[str, Any] = {"ha": "left", "va": "baseline", "fontfamily": FONT, "usetex": False}
    figure.text(0.2 / width, 1 - 0.32 / height, clean(title, fit), fontsize=12.5, color=INK, weight="bold", **look)
    figure.text(0.2 / width, 1 - 0.54 / height, clean(subtitle, int(fit * 1.4)), fontsize=9.5, color=MUTED, **look)


def named_ticks(axes: Axes, where: str, positions: Sequence[float], names: Sequence[str]) -> None:
    """Ticks with names along the "x" or "y" axis; the names must be cleaned."""
    axis = axes.xaxis if where == "x" else axes.yaxis
    axis.set_ticks(list(positions), labels=list(names))


def spread(positions: Sequence[float], gap: float) -> list[float]:
    """The positions moved apart, in order, so that neighbours are at least `gap` apart.

    >>> spread([0.5, 0.52], 0.1)
    [0.46, 0.56]
    """
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    moved = [positions[i] for i in order]
    for _ in range(50):
        worst = 0.0
        for i in range(len(moved) - 1):
            lack = gap - (moved[i + 1] - moved[i])
            if lack > 1e-9:
                moved[i] -= lack / 2
                moved[i + 1] += lack / 2
                worst = max(worst, lack)
        if not worst:
            break
    result = [0.0] * len(moved)
    for rank, i in enumerate(order):
        result[i] = round(moved[rank], 6)
    return result


def legible_limits(values: Floats, *, skip: int = 0, share: float = 0.9) -> tuple[float, float]:
    """Limits that show the low values of `values` (n,) well and cut off a long tail above.

    The lowest `share` of the values after the first `skip` keep at least 60 % of the height.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    settled = values[skip:][np.isfinite(values[skip:])]
    settled = settled if settled.size else finite
    low, high, most = float(finite.min()), float(np.quantile(settled, share)), float(finite.max())
    if high <= low:
        high = most
    top = min(most, high + (high - low) / 0.6 * 0.4)
    pad = 0.06 * (top - low) or 0.05 * abs(low) or 0.5
    return low - pad, top + pad


def class_look(count: int) -> tuple[list[str], list[str]]:
    """Colour and marker of each of `count` classes; beyond twenty all are grey."""
    colours = [PALETTE[i % len(PALETTE)] if i < MAX_CLASSES else GREY for i in range(count)]
    markers = [MARKERS[i // len(PALETTE)] if i < MAX_CLASSES else MARKERS[0] for i in range(count)]
    return colours, markers


def draw_classes(axes: Axes, points: Floats, codes: Ints, classes: int, alpha: float, zorder: float) -> None:
    """Dots at points (n, 2) in the look of their class; grey, smaller and fainter below them those without one (-1)."""
    colours, markers = class_look(classes)
    bare, shapes = codes < 0, np.array([*markers, ""])[codes]
    if bare.any():
        faint: dict[str, Any] = {"color": GREY, "alpha": 0.8 * alpha, "zorder": zorder - 0.1}
        axes.scatter(points[bare, 0], points[bare, 1], s=0.6 * dot_size(len(points)), linewidths=0, **faint)
    look: dict[str, Any] = {"s": dot_size(int((~bare).sum())), "alpha": alpha, "zorder": zorder}
    inks = to_rgba_array([*colours, GREY])[codes]
    for marker in sorted(set(shapes[~bare].tolist())):
        mine = shapes == marker
        axes.scatter(points[mine, 0], points[mine, 1], c=inks[mine], marker=marker, linewidths=0, **look)


def dot_size(number: int) -> float:
    """The area of each of that many dots, in square points."""
    return float(np.clip(12_000 / max(1, number), 6, 24))


def as_float(mapping: Mapping[str, Any] | None, key: str) -> float:
    """`mapping[key]` as a float; NaN if there is none."""
    value = mapping.get(key) if mapping else None
    return float("nan") if value is None else float(value)


def save(figure: Figure, path: str | Path) -> Path:
    """Writes the figure as PNG, atomically."""
    buffer = io.BytesIO()
    if matplotlib.rcParams["text.usetex"]:  # as the user's matplotlibrc may ask, but not every machine has LaTeX
        for text in figure.findobj(Text):
            text.set_usetex(False)
    figure.savefig(buffer, format="png", dpi=DPI, facecolor="white", pil_kwargs={"compress_level": 4})
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_atomic(path, buffer.getvalue())
