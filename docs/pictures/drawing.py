"""What the pictures have in common: colours, text sizes, and files that are the same on every run.

A picture is a module beside this one with a function ``draw() -> Figure``;
``python docs/pictures`` writes each to an SVG of the module's name. Letters are drawn as shapes and
no date is written, so that a file changes only if the picture does.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

# Told apart by people who do not see every colour, and by lightness.
INK, QUIET, PALE = "#24292f", "#6e7781", "#d0d7de"
BOX, SAMPLE, READ = "#d1495b", "#00506b", "#2e86ab"
SERIES = ("#2e86ab", "#d1495b", "#edae49", "#66629c")

STYLE = {
    "svg.hashsalt": "roiops",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "lines.linewidth": 1.6,
    "legend.fontsize": 9,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}
mpl.rcParams.update(STYLE)


def figure(
    width: float, height: float, rows: int = 1, columns: int = 1, **options: object
) -> tuple[Figure, list[Axes]]:
    """A figure of that many inches, and its axes in reading order."""
    fig = Figure(figsize=(width, height), layout="constrained")
    return fig, list(np.ravel(fig.subplots(rows, columns, **options)))


def to_svg(fig: Figure) -> str:
    text = io.StringIO()
    fig.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()


def cells(axes: Axes, height: int, width: int, weights: np.ndarray | None = None) -> None:
    """A grid of square cells, cell i from i to i + 1, the darker the more weight it has."""
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    axes.tick_params(length=0)
    axes.set_xticks(range(width + 1))
    axes.set_yticks(range(height + 1))
    if weights is not None:
        for y, x in zip(*np.nonzero(weights), strict=True):
            alpha = 0.12 + 0.58 * float(weights[y, x] / weights.max())
            axes.add_patch(Rectangle((x, y), 1, 1, color=READ, alpha=alpha, lw=0))
    for i in range(width + 1):
        axes.axvline(i, color=PALE, lw=0.8, zorder=0.5)
    for i in range(height + 1):
        axes.axhline(i, color=PALE, lw=0.8, zorder=0.5)


def box(axes: Axes, corners: Sequence[float], **style: object) -> None:
    x1, y1, x2, y2 = corners
    axes.add_patch(
        Rectangle((x1, y1), x2 - x1, y2 - y1, **{"fill": False, "ec": BOX, "lw": 1.8} | style)
    )
