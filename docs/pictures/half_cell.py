"""Where a place of the image lies on a map, and where it is read with and without ``aligned``.

The places read are asked of ``roi_align``: a map that rises by one per cell, sampled once in the
middle of a box around the place, gives the index that was read.
"""

from __future__ import annotations

import drawing
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import roiops

STRIDE, CELLS = 8, 5
PLACE = 20.0  # image pixels


def index_read(aligned: bool) -> float:
    """The place on the map, 0 being the centre of cell 0, that a sample at PLACE reads."""
    ramp = np.arange(CELLS, dtype=float).reshape(1, 1, 1, CELLS)
    roi = np.array([[0, PLACE - STRIDE, 0, PLACE + STRIDE, STRIDE]])
    return float(roiops.roi_align(ramp, roi, 1, 1 / STRIDE, 1, aligned).item())


def draw() -> Figure:
    fig, (axes,) = drawing.figure(8.6, 3.2)
    axes.set(xlim=(-4.4, STRIDE * CELLS + 0.6), ylim=(-0.55, 4.1))
    axes.axis("off")
    size = STRIDE * CELLS
    ruler(axes, 2.9, "image,\npixels", np.arange(size + 1), range(0, size + 1, 4))
    ruler(axes, 1.65, "map,\ncontinuous", STRIDE * np.arange(CELLS + 1), range(CELLS + 1))
    index_ruler(axes, 0.5, STRIDE * (np.arange(CELLS) + 0.5))
    axes.plot([PLACE, PLACE], [0.5, 3.75], color=drawing.BOX, lw=1.2, zorder=0)
    axes.text(PLACE, 3.85, f"x = {PLACE:g}", ha="center", color=drawing.BOX)
    axes.text(PLACE + 0.4, 2.5, f"x / {STRIDE} = {PLACE / STRIDE:g}", color=drawing.BOX)
    for aligned, colour in ((True, drawing.SAMPLE), (False, drawing.BOX)):
        index = index_read(aligned)
        at = STRIDE * (index + 0.5)
        axes.plot(at, 0.5, "o", color=colour, ms=7, zorder=3)
        side, sign = ("right", -1) if aligned else ("left", 1)
        axes.text(at + 0.6 * sign, -0.05, f"aligned={aligned}\nreads index {index:g}", ha=side,
                  va="top", color=colour)  # fmt: skip
    axes.annotate(
        "", (STRIDE * (index_read(False) + 0.5), 0.78), (PLACE, 0.78),
        arrowprops={"arrowstyle": "->", "color": drawing.BOX, "lw": 1.4},
    )  # fmt: skip
    axes.text(PLACE + 0.4, 0.9, "half a cell", color=drawing.BOX)
    return fig


def ruler(axes: Axes, y: float, name: str, lines: np.ndarray, numbers: range) -> None:
    """Cells side by side, a number at some of their edges."""
    axes.text(-1, y + 0.18, name, ha="right", va="center")
    for line in (y, y + 0.35):
        axes.plot([lines[0], lines[-1]], [line, line], color=drawing.QUIET, lw=1)
    axes.vlines(lines, y, y + 0.35, color=drawing.QUIET, lw=0.8)
    scale = lines[-1] / numbers[-1]
    for number in numbers:
        axes.text(number * scale, y + 0.44, str(number), ha="center", fontsize=8,
                  bbox={"color": "white", "pad": 1})  # fmt: skip


def index_ruler(axes: Axes, y: float, centres: np.ndarray) -> None:
    """Numbers where the values of the cells lie: in their middle."""
    axes.text(-1, y, "map,\nindex", ha="right", va="center")
    axes.plot([0, centres[-1] + STRIDE / 2], [y, y], color=drawing.QUIET, lw=1)
    for index, x in enumerate(centres):
        axes.plot(x, y, "|", color=drawing.QUIET, ms=10)
        axes.text(x, y - 0.2, str(index), ha="center", va="top", fontsize=8)
