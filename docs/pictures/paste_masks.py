"""One predicted mask, pasted by both conventions into pixels that its box does not fit."""

from __future__ import annotations

import drawing
import numpy as np
from matplotlib.figure import Figure

import roiops

MASK = np.array([[0.9, 0.9, 0.2], [0.9, 0.9, 0.9], [0.2, 0.9, 0.9]])
BOX = (2.4, 1.7, 8.2, 6.1)
HEIGHT, WIDTH = 8, 11


def draw() -> Figure:
    fig, axes = drawing.figure(9.2, 3.0, 1, 3, width_ratios=(0.75, 1, 1))
    drawing.cells(axes[0], *MASK.shape, MASK)
    for (y, x), value in np.ndenumerate(MASK):
        axes[0].text(x + 0.5, y + 0.5, f"{value:.1f}", ha="center", va="center")
    axes[0].set_title("the mask,\nprobabilities")
    for axis, convention, rule in (
        (axes[1], "torchvision", "box rounded outwards, > 0.5"),
        (axes[2], "detectron2", "exact box, ≥ 0.5"),
    ):
        arguments = MASK[None], np.array([BOX]), (HEIGHT, WIDTH)
        soft = roiops.paste_masks(*arguments, threshold=None, convention=convention)[0]
        pasted = roiops.paste_masks(*arguments, convention=convention)[0]
        drawing.cells(axis, HEIGHT, WIDTH, soft)
        drawing.box(axis, BOX)
        y, x = np.nonzero(pasted)
        axis.plot(x + 0.5, y + 0.5, "s", color=drawing.SAMPLE, ms=3)
        axis.set_title(f"{convention}: {pasted.sum()} pixels set\n{rule}")
    return fig
