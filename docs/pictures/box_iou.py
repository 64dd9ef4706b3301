"""The four measures of overlap, for a box that is moved away from another."""

from __future__ import annotations

import drawing
import numpy as np
from matplotlib.figure import Figure

import roiops

MEASURES = ("box_iou", "generalized_box_iou", "distance_box_iou", "complete_box_iou")
FIXED = (0.0, 0.0, 10.0, 10.0)
MOVED = (0.0, 2.0, 10.0, 8.0)  # moved to the right by ``distance``


def draw() -> Figure:
    fig, (axes,) = drawing.figure(6.2, 3.4)
    distance = np.linspace(0, 30, 601)
    moved = np.array([MOVED]) + distance[:, None] * np.array([1.0, 0, 1, 0])
    for measure, colour in zip(MEASURES, drawing.SERIES, strict=True):
        values = getattr(roiops, measure)(np.array([FIXED]), moved)[0]
        style = "--" if measure == "complete_box_iou" else "-"
        axes.plot(distance, values, style, color=colour, label=measure)
    axes.axvline(10, color=drawing.QUIET, lw=0.8, ls=":")
    axes.text(10.3, 0.55, "the boxes part", color=drawing.QUIET)
    axes.axhline(0, color=drawing.PALE, lw=0.8, zorder=0)
    axes.set(xlim=(0, 30), xlabel="a 10 × 6 box is moved away from a 10 × 10 box, pixels",
             ylabel="value")  # fmt: skip
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper right")
    return fig
