"""What a mask head is to predict for one box of one annotated polygon, by the three rules."""

from __future__ import annotations

import drawing
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

import roiops

POLYGON = [3.0, 11.0, 8.0, 2.0, 17.0, 5.0, 14.0, 13.0]
BOX = (2.5, 1.5, 17.5, 13.5)
HEIGHT, WIDTH = 15, 20
BINS = 7


def draw() -> Figure:
    fig, axes = drawing.figure(9.2, 2.7, 1, 4, width_ratios=(4 / 3, 1, 1, 1))
    box = np.array([BOX], np.float32)
    bitmap = roiops.rasterize_polygons(
        [[POLYGON]], np.array([[0, 0, WIDTH, HEIGHT]], np.float32), (HEIGHT, WIDTH)
    )
    drawing.cells(axes[0], HEIGHT, WIDTH, bitmap[0].astype(float))
    axes[0].set_xticks(range(0, WIDTH + 1, 5))
    axes[0].set_yticks(range(0, HEIGHT + 1, 5))
    axes[0].add_patch(Polygon(np.reshape(POLYGON, (-1, 2)), fill=False, ec=drawing.INK, lw=1.2))
    drawing.box(axes[0], BOX)
    axes[0].set_title("annotation\nand a box, pixels")
    targets = {
        "crop_masks\ntorchvision: soft": roiops.crop_masks(bitmap, box, BINS),
        "crop_masks\ndetectron2: ≥ 0.5": roiops.crop_masks(
            bitmap, box, BINS, convention="detectron2"
        ),
        "rasterize_polygons\nno bitmap": roiops.rasterize_polygons([[POLYGON]], box, BINS),
    }
    corner, sides = box[0, :2], box[0, 2:] - box[0, :2]
    outline = (np.reshape(POLYGON, (-1, 2)) - corner) / sides * BINS
    for axis, (title, target) in zip(axes[1:], targets.items(), strict=True):
        drawing.cells(axis, BINS, BINS, target[0].astype(float))
        axis.add_patch(Polygon(outline, fill=False, ec=drawing.INK, lw=1.2))
        axis.set_title(title)
    return fig
