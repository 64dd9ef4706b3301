"""One box, pooled in five ways: where each way samples, and which cells it reads.

Nothing of this is known here. A map with a single lit cell gives the weight of that cell in every
bin; a map that rises by one per cell gives, at a sample, the sample's place. In float64, so that no
machine's rounding is seen in the file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import drawing
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import roiops

STRIDE = 16
HEIGHT, WIDTH = 7, 8  # cells of the map
BOX = (27.0, 22.0, 83.0, 74.0)  # image pixels
BINS, RATIO = 2, 2

Pool = Callable[..., np.ndarray]


@dataclass(frozen=True)
class Way:
    title: str
    note: str
    pool: Pool  # (maps, rois, output_size, spatial_scale, samples per bin and axis)
    inset: float | None = 0.5  # of a sample in its share of the bin; None: there are no samples


WAYS = [
    Way(
        "roi_align, aligned=True",
        "what lies in the box",
        lambda x, r, n, s, k: roiops.roi_align(x, r, n, s, k, aligned=True),
    ),
    Way(
        "roi_align, aligned=False",
        "half a cell right and down",
        lambda x, r, n, s, k: roiops.roi_align(x, r, n, s, k),
    ),
    Way(
        "roi_pool",
        "whole cells, both ends' cells too",
        lambda x, r, n, s, k: roiops.roi_pool(x, r, n, s),
        None,
    ),
    Way(
        'roi_warp, "paper"',
        "rounded, then half a cell off",
        lambda x, r, n, s, k: roiops.roi_warp(x, r, n, s, k),
    ),
    Way(
        'roi_warp, "mnc"',
        "rounded, one sample per bin",
        lambda x, r, n, s, k: roiops.roi_warp(x, r, n, s, convention="mnc"),
        0.0,
    ),
]


def weights(way: Way) -> np.ndarray:
    """(BINS, BINS, HEIGHT, WIDTH): the weight of each cell in each bin."""
    count = HEIGHT * WIDTH
    lit = np.eye(count).reshape(count, 1, HEIGHT, WIDTH)
    rois = np.array([[cell, *BOX] for cell in range(count)])
    pooled = way.pool(lit, rois, BINS, 1 / STRIDE, RATIO)
    return pooled[:, 0].transpose(1, 2, 0).reshape(BINS, BINS, HEIGHT, WIDTH)


def samples(way: Way) -> tuple[np.ndarray, np.ndarray]:
    """x and y of the samples, 0 being the centre of the first cell.

    As many bins as there are samples, with one sample each, have the same samples.
    """
    per_axis = BINS if way.inset == 0 else BINS * RATIO
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    roi = np.array([[0, *BOX]])
    along_x, along_y = (
        way.pool(ramp[None, None], roi, per_axis, 1 / STRIDE, 1)[0, 0] for ramp in (x, y)
    )
    return along_x[0], along_y[:, 0]


def draw() -> Figure:
    fig, axes = drawing.figure(9.2, 6.4, 2, 3)
    exact = np.array(BOX) / STRIDE
    image(axes[0])
    for axis, way in zip(axes[1:], WAYS, strict=True):
        weight = weights(way)
        drawing.cells(axis, HEIGHT, WIDTH, weight.sum((0, 1)))
        y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
        axis.plot(x.ravel(), y.ravel(), "+", color=drawing.QUIET, ms=3.5, mew=0.7)
        drawing.box(axis, exact)
        if way.inset is None:
            for bin in weight.reshape(-1, HEIGHT, WIDTH):
                rows, columns = np.nonzero(bin)
                drawing.box(
                    axis,
                    (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1),
                    ec=drawing.SAMPLE,
                    lw=1.1,
                    ls="--",
                )
        else:
            x, y = samples(way)
            edges = [region(at, way.inset) for at in (x, y)]
            (x1, x2), (y1, y2) = edges
            drawing.box(axis, (x1, y1, x2, y2), ec=drawing.SAMPLE, lw=1.1, ls="--")
            axis.plot(*(np.ravel(a) + 0.5 for a in np.meshgrid(x, y)), "o",
                      color=drawing.SAMPLE, ms=3.6)  # fmt: skip
        axis.set_title(f"{way.title}\n{way.note}")
    return fig


def region(at: np.ndarray, inset: float) -> tuple[float, float]:
    """The ends of what the samples ``at`` stand for, where cell i lies from i to i + 1."""
    step = at[1] - at[0]
    start = at[0] - inset * step + 0.5
    return float(start), float(start + len(at) * step)


def image(axis) -> None:
    """The box in its image, on which the cells of the map lie; and what the signs mean."""
    drawing.cells(axis, HEIGHT, WIDTH)
    for ticks, count in ((axis.set_xticks, WIDTH), (axis.set_yticks, HEIGHT)):
        ticks(range(0, count + 1, 2), [str(STRIDE * i) for i in range(0, count + 1, 2)])
    axis.add_patch(Rectangle((0, 0), WIDTH, HEIGHT, color="#f6f8fa", zorder=0))
    drawing.box(axis, np.array(BOX) / STRIDE)
    axis.set_title(f"the box, in image pixels\na cell is {STRIDE} × {STRIDE} pixels")
    for row, (mark, style, text) in enumerate((
        ("s", {"mfc": "none", "mec": drawing.BOX, "mew": 1.8}, "the box"),
        ("+", {"color": drawing.QUIET, "mew": 0.9}, "centre of a cell"),
        ("o", {"color": drawing.SAMPLE}, "sample"),
        ("s", {"mfc": "none", "mec": drawing.SAMPLE, "mew": 1.1}, "what is pooled"),
        ("s", {"color": drawing.READ, "alpha": 0.6}, "cell that is read"),
    )):  # fmt: skip
        axis.plot(2.15, 1.95 + 0.55 * row, mark, ms=6, **style)
        axis.text(2.55, 1.95 + 0.55 * row, text, va="center", fontsize=8)
