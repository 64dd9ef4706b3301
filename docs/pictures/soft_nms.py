"""The factor by which soft-NMS lowers the score of a box, by its overlap with a better one."""

from __future__ import annotations

import drawing
import numpy as np
from matplotlib.figure import Figure

import roiops

METHODS = {
    "linear": "linear, iou_threshold = 0.3",
    "gaussian": "gaussian, sigma = 0.5",
    "hard": "hard, iou_threshold = 0.3",
}


def factor(method: str, overlap: float) -> float:
    """What is left of a score of 1 beside a box of score 2 with that IoU."""
    boxes = np.array([[0, 0, 1, 1], [0, 0, 1, overlap]], np.float64)
    keep, scores = roiops.soft_nms(boxes, np.array([2.0, 1.0]), method=method, score_threshold=0.0)
    return float(scores[1]) if len(keep) == 2 else 0.0


def draw() -> Figure:
    fig, (axes,) = drawing.figure(5.6, 3.2)
    overlaps = np.linspace(1e-6, 1, 401)
    for (method, label), colour in zip(METHODS.items(), drawing.SERIES, strict=False):
        axes.plot(overlaps, [factor(method, o) for o in overlaps], color=colour, label=label)
    axes.set(xlim=(0, 1), ylim=(-0.02, 1.05), xlabel="IoU with the selected box",
             ylabel="factor of the score")  # fmt: skip
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper right", bbox_to_anchor=(1, 0.98))
    return fig
