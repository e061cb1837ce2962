"""Plots as SVG files that differ only where their data differ.

matplotlib is imported at the first plot; it is part of the extra `bench`. The colours are those of Okabe and
Ito (2008), which people with any colour vision can tell apart; markers and dashes say the same again.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from itertools import cycle, product
from pathlib import Path
from typing import Any, Final

__all__ = ["Axes", "Points", "can_plot", "lines", "scatter"]

_COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_DASHES: Final = ("-", "--", ":")
_MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X")
_SETTINGS: Final[Mapping[str, Any]] = {
    "svg.hashsalt": "longsplice",  # Without it every element has a random id.
    "svg.fonttype": "none",  # Text stays text: smaller, and readable by search.
    "font.family": "sans-serif",
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "legend.frameon": False,
    "legend.fontsize": 9,
}

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Axes:
    """What a plot's axes say.

    Attributes:
        title: Above the plot.
        x: Label of the horizontal axis, with its unit.
        y: Label of the vertical axis, with its unit.
        log_x: Whether the horizontal axis is logarithmic.
        log_y: Likewise the vertical one.
        x_limits: Least and most; `None` as the data are.
        y_limits: Likewise.
    """

    title: str
    x: str
    y: str
    log_x: bool = False
    log_y: bool = False
    x_limits: tuple[float, float] | None = None
    y_limits: tuple[float, float] | None = None


def can_plot() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def lines(
    path: Path,
    axes: Axes,
    series: Mapping[str, Points],
    *,
    bands: Mapping[str, Points] | None = None,
    markers: bool = False,
) -> None:
    """Save one line for each series, labelled in a legend beside the plot.

    Args:
        path: The SVG file; its folder is made.
        axes: What the axes say.
        series: By name, points in the order in which they are joined.
        bands: By a name of `series`, the lower and upper end of the interval around each of its points.
        markers: Whether each point is marked too.
    """
    with _figure(path, axes) as drawn:
        looks = zip(product(_DASHES, _COLOURS), cycle(_MARKERS), strict=False)
        for (name, points), ((dash, colour), marker) in zip(series.items(), looks, strict=False):
            xs, ys = [x for x, _ in points], [y for _, y in points]
            drawn.plot(
                xs, ys, dash, color=colour, linewidth=1.8, label=name, marker=marker if markers else None
            )
            if bands and name in bands:
                low, high = zip(*bands[name], strict=True)
                drawn.fill_between(xs, low, high, color=colour, alpha=0.15, linewidth=0)


def scatter(path: Path, axes: Axes, series: Mapping[str, Points]) -> None:
    """Save a cloud of points for each series, labelled in a legend beside the plot.

    Args:
        path: The SVG file; its folder is made.
        axes: What the axes say.
        series: By name, its points.
    """
    with _figure(path, axes) as drawn:
        for (name, points), (marker, colour) in zip(
            series.items(), _marked(len(_MARKERS) * len(_COLOURS)), strict=False
        ):
            xs, ys = [x for x, _ in points], [y for _, y in points]
            drawn.scatter(xs, ys, marker=marker, color=colour, s=55, label=name, zorder=3)


def _marked(count: int) -> list[tuple[str, str]]:
    """Marker and colour, each pair once: the colours go round faster than they meet the same marker."""
    rounds = len(_COLOURS)
    return [(_MARKERS[(i + i // rounds) % len(_MARKERS)], _COLOURS[i % rounds]) for i in range(count)]


@contextmanager
def _figure(path: Path, axes: Axes) -> Generator[Any]:
    """Axes to draw on, saved at the end of the block."""
    with import_module("matplotlib").rc_context(dict(_SETTINGS)):
        # Not pyplot: it would look for a display and keep the figure.
        figure = import_module("matplotlib.figure").Figure(figsize=(8.5, 4.5), layout="constrained")
        drawn = figure.add_subplot()
        yield drawn
        drawn.set_title(axes.title, loc="left", fontsize=12)
        drawn.set(xlabel=axes.x, ylabel=axes.y)
        drawn.set_xscale("log" if axes.log_x else "linear")
        drawn.set_yscale("log" if axes.log_y else "linear")
        if axes.x_limits:
            drawn.set_xlim(*axes.x_limits)
        if axes.y_limits:
            drawn.set_ylim(*axes.y_limits)
        drawn.legend(loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
