"""The anchors of the first cell of a grid, in the three conventions."""

from __future__ import annotations

import drawing
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import roiops

STRIDE, SIZE, RATIOS = 16, 32.0, (0.5, 1.0, 2.0)


def draw() -> Figure:
    fig, axes = drawing.figure(9.2, 4.0, 1, 3)
    for axis, convention in zip(axes, ("torchvision", "detectron2", "detectron"), strict=True):
        anchors = roiops.cell_anchors(
            (SIZE,), RATIOS, convention=convention, stride=STRIDE, like=np.empty(0)
        )
        axis.set(xlim=(-28, 40), ylim=(40, -28), aspect="equal")
        axis.set_xticks(range(-16, 33, STRIDE))
        axis.set_yticks(range(-16, 33, STRIDE))
        axis.grid(color=drawing.PALE, lw=0.8)
        axis.set_axisbelow(True)
        axis.tick_params(length=0)
        axis.add_patch(Rectangle((0, 0), STRIDE, STRIDE, color=drawing.PALE, alpha=0.5, lw=0))
        for anchor, colour, ratio in zip(anchors, drawing.SERIES, RATIOS, strict=False):
            drawing.box(axis, anchor, ec=colour, label=f"height / width = {ratio:g}")
        centres = (anchors[:, :2] + anchors[:, 2:]) / 2
        axis.plot(*centres.T, "o", color=drawing.INK, ms=3.5)
        sides = ",  ".join(f"{x2 - x1:.3g} × {y2 - y1:.3g}" for x1, y1, x2, y2 in anchors)
        axis.set_title(f"{convention}\n{sides}")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3,
               frameon=False)  # fmt: skip
    return fig
