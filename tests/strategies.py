"""What the operators are tested on: hypothesis strategies for arrays, boxes, regions, layouts.

Hypothesis draws the shapes, kinds and a seed; the numbers come from a NumPy generator, so that a
falsifying example stays short enough to read.
"""

from collections.abc import Callable

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

FLOATS = (np.float32, np.float64)
SAMPLING_RATIOS = (-1, 0, 1, 2, 3)
# One, fewer than a vector register, one more than 16, and one more than two blocks of 16.
CHANNELS = (1, 3, 16, 17, 33)

# For properties with many cases to tell apart: as many times the profile's number of examples.
several_times = settings(max_examples=4 * settings.default.max_examples)

float_dtypes = st.sampled_from(FLOATS)
seeds = st.integers(0, 2**32 - 1)
generators = seeds.map(np.random.default_rng)


# --- memory layouts: the same numbers lying differently -------------------------------------------


def channels_last(array: np.ndarray) -> np.ndarray:
    """NCHW to the eye, NHWC in memory."""
    if array.ndim != 4:
        return array
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def negative_strides(array: np.ndarray) -> np.ndarray:
    backwards = tuple(slice(None, None, -1) for _ in array.shape)
    return np.ascontiguousarray(array[backwards])[backwards]


def with_gaps(array: np.ndarray) -> np.ndarray:
    """Every second element of a larger array whose other elements are NaN (or all ones)."""
    filler = np.nan if array.dtype.kind == "f" else -1
    larger = np.full([2 * length for length in array.shape], filler).astype(array.dtype)
    view = larger[tuple(slice(None, None, 2) for _ in array.shape)]
    view[...] = array
    return view


def read_only(array: np.ndarray) -> np.ndarray:
    frozen = array.copy()
    frozen.flags.writeable = False
    return frozen


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "contiguous": np.ascontiguousarray,
    "channels_last": channels_last,
    "fortran": np.asfortranarray,
    "negative_strides": negative_strides,
    "with_gaps": with_gaps,
    "read_only": read_only,
}

layouts = st.sampled_from(sorted(LAYOUTS)).map(LAYOUTS.__getitem__)


# --- numbers that are not finite ------------------------------------------------------------------


def with_non_finite(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A copy in which some values, from few to half of them, are NaN or infinite."""
    kinds = [[np.nan], [np.inf], [np.nan, np.inf, -np.inf]][rng.integers(3)]
    wild = rng.choice(np.array(kinds, array.dtype), array.shape)
    share = rng.choice([0.02, 0.1, 0.5])
    return np.where(rng.random(array.shape) < share, wild, array)


# --- boxes ----------------------------------------------------------------------------------------


def box_of_kind(kind: str, rng: np.random.Generator, extent: float) -> np.ndarray:
    """One box (4,) float64 for a picture of extent x extent."""
    low = rng.uniform(0, extent, 2)
    high = low + rng.uniform(0, extent / 2, 2)
    box = np.concatenate([low, np.minimum(high, extent)])
    match kind:
        case "inside":
            return box
        case "overhanging":
            return box + np.tile(rng.uniform(-extent, extent, 2), 2)
        case "larger":
            return np.concatenate([-rng.uniform(0, extent, 2), extent + rng.uniform(0, extent, 2)])
        case "far":
            return box + np.tile(rng.choice([-1, 1], 2) * rng.uniform(2, 50) * extent, 2)
        case "whole":  # whole and half pixels: on every kink of every rule
            return np.round(2 * box) / 2
        case "tiny":
            return np.concatenate([low, low + rng.uniform(0, 1e-3, 2)])
        case "empty":
            return np.concatenate([low, low])
        case "reversed":
            return box[[2, 3, 0, 1]]
        case "half_reversed":
            return box[[2, 1, 0, 3]]
        case "huge":
            return np.array([-1, -1, 1, 1]) * rng.choice([1e5, 1e12, 1e30], 4)
        case "far_and_huge":
            return rng.choice([-1e30, -1e8, 1e8, 1e30, 0], 4)
        case "not_finite":
            box[rng.integers(4)] = rng.choice([np.nan, np.inf, -np.inf])
            return box
    raise ValueError(kind)


ORDINARY = ("inside", "overhanging", "larger", "whole")
ODD = (*ORDINARY, "far", "tiny", "empty", "reversed", "half_reversed", "huge", "not_finite")
EVERY_KIND = (*ODD, "far_and_huge")


@st.composite
def box_arrays(
    draw: st.DrawFn,
    kinds: tuple[str, ...] = ODD,
    min_boxes: int = 0,
    max_boxes: int = 8,
    extent: float = 12.0,
    duplicates: bool = False,
) -> np.ndarray:
    """boxes (N, 4), float64; with duplicates some rows repeat others."""
    rng = draw(generators)
    rows = draw(st.lists(st.sampled_from(kinds), min_size=min_boxes, max_size=max_boxes))
    boxes = np.array([box_of_kind(kind, rng, extent) for kind in rows]).reshape(-1, 4)
    if duplicates and len(boxes) and draw(st.booleans()):
        boxes = boxes[rng.integers(0, len(boxes), len(boxes))]
    return boxes


def to_rois(boxes: np.ndarray, images: int, rng: np.random.Generator) -> np.ndarray:
    """rois (K, 5): the boxes (K, 4), each in one of the images."""
    image = rng.integers(0, images, (len(boxes), 1))
    return np.concatenate([image.astype(boxes.dtype), boxes], axis=1)
