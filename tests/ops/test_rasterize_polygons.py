"""rasterize_polygons: pixel for pixel what COCO fills."""

import numpy as np
import pytest
from backends import Backend
from comparison import assert_equal
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    EVERY_KIND,
    ODD,
    ORDINARY,
    box_arrays,
    float_dtypes,
    generators,
    layouts,
    several_times,
)

import roiops
from roiops import reference


def polygon(rng: np.random.Generator, kind: str, around: np.ndarray) -> np.ndarray:
    """One polygon (P, 2) near a box."""
    count = rng.integers(3, 9)
    centre, spread = (around[:2] + around[2:]) / 2, np.abs(around[2:] - around[:2]) + 1
    points = centre + rng.normal(0, 0.5, (count, 2)) * spread  # most of them cross themselves
    match kind:
        case "star":
            angle = np.sort(rng.uniform(0, 2 * np.pi, count))
            circle = np.stack([np.cos(angle), np.sin(angle)], 1)
            return centre + circle * rng.uniform(0.1, 0.8, (count, 1)) * spread
        case "whole":  # on pixels, their centres, and COCO's finer grid
            step = rng.choice([1, 2, 5, 10])
            return np.round(points * step) / step
        case "far":
            return points + rng.choice([-1, 1], 2) * rng.uniform(1, 30) * spread
        case "long":
            return points * rng.choice([1, 10, 60], (count, 1))
        case "repeated":
            return points[rng.integers(0, 3, count)]
        case "flat":
            points[:, rng.integers(2)] = centre[0]
            return points
    return points


KINDS = ("crossing", "star", "whole", "far", "long", "repeated", "flat")


@st.composite
def annotations(draw: st.DrawFn, kinds: tuple[str, ...] = ODD) -> tuple:
    """polygons, boxes, size."""
    rng = draw(generators)
    boxes = draw(box_arrays(kinds, max_boxes=4, extent=20.0))
    near = np.nan_to_num(np.clip(boxes, -1e3, 1e3))
    polygons = [
        [
            polygon(rng, kind, box).ravel()
            for kind in draw(st.lists(st.sampled_from(KINDS), max_size=3))
        ]
        for box in near
    ]
    size = draw(st.sampled_from([1, 2, 7, 28, (3, 17), (30, 2)]))
    return polygons, boxes.astype(draw(float_dtypes)), size


@several_times
@given(annotation=annotations(EVERY_KIND), layout=layouts)
def test_pixels_are_the_references(compiled: Backend, annotation, layout) -> None:
    polygons, boxes, size = annotation
    expected = reference.rasterize_polygons(polygons, boxes, size)
    lying = [[layout(outline) for outline in outlines] for outlines in polygons]
    assert_equal(compiled("rasterize_polygons", lying, layout(boxes), size), expected)


def filled_by_coco(coco, polygons: list, boxes: np.ndarray, size) -> np.ndarray:
    """Detectron's rule in float64, and pycocotools for the rest."""
    height, width = (size, size) if isinstance(size, int) else size
    masks = np.zeros((len(boxes), height, width), bool)
    for mask, outlines, box in zip(masks, polygons, boxes.astype(np.float64), strict=True):
        sides = np.maximum(box[2:] - box[:2], 1)
        moved = [
            ((np.reshape(outline, (-1, 2)) - box[:2]) * (width, height) / sides).ravel().tolist()
            for outline in outlines
        ]
        if moved:
            mask[...] = coco.decode(coco.merge(coco.frPyObjects(moved, height, width)))
    return masks


@several_times
@given(annotation=annotations((*ORDINARY, "far", "tiny", "empty", "reversed")))
def test_pixels_are_those_of_pycocotools(backend: Backend, annotation) -> None:
    coco = pytest.importorskip("pycocotools.mask")
    polygons, boxes, size = annotation
    expected = filled_by_coco(coco, polygons, boxes, size)
    assert_equal(backend("rasterize_polygons", polygons, boxes, size), expected)


def test_large_pictures_are_those_of_pycocotools(backend: Backend) -> None:
    coco = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(0)
    box = np.array([[0, 0, 200, 150.0]])
    for kind in KINDS:
        polygons = [[polygon(rng, kind, box[0]).ravel() for _ in range(4)]]
        expected = filled_by_coco(coco, polygons, box, (150, 200))
        assert_equal(backend("rasterize_polygons", polygons, box, (150, 200)), expected)
        if kind in ("crossing", "star", "whole"):
            assert expected.any()


# --- the rule, without a peer ---------------------------------------------------------------------


def inside(points: np.ndarray, x: float, y: float) -> bool:
    """Even-odd: how often a ray to the right crosses the outline."""
    crossings = 0
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, 0), strict=True):
        if (y0 <= y) != (y1 <= y) and x < x0 + (y - y0) / (y1 - y0) * (x1 - x0):
            crossings += 1
    return crossings % 2 == 1


def near_outline(points: np.ndarray, x: float, y: float, distance: float) -> bool:
    at = np.array([x, y])
    for start, end in zip(points, np.roll(points, -1, 0), strict=True):
        along = end - start
        t = np.clip((at - start) @ along / max(along @ along, 1e-12), 0, 1)
        if np.hypot(*(start + t * along - at)) < distance:
            return True
    return False


@given(annotation=annotations(ORDINARY))
def test_pixels_away_from_the_outline_are_even_odd(backend: Backend, annotation) -> None:
    polygons, boxes, _ = annotation
    height, width = 9, 12
    got = backend("rasterize_polygons", polygons, boxes, (height, width))
    for mask, outlines, box in zip(got, polygons, boxes.astype(np.float64), strict=True):
        sides = np.maximum(box[2:] - box[:2], 1)
        outlines = [
            (np.reshape(outline, (-1, 2)) - box[:2]) * (width, height) / sides
            for outline in outlines
        ]
        for row in range(height):
            for column in range(width):
                x, y = column + 0.5, row + 0.5
                if not any(near_outline(points, x, y, 0.5) for points in outlines):
                    expected = any(inside(points, x, y) for points in outlines)
                    assert mask[row, column] == expected


def test_by_hand(backend: Backend) -> None:
    # A rectangle over pixels 2..4 x 1..2 of a box that is magnified twice.
    rectangle = [11, 20.5, 12.5, 20.5, 12.5, 21.5, 11, 21.5]
    box = np.array([[10, 20, 14, 23]], np.float32)
    expected = np.zeros((1, 6, 8), bool)
    expected[0, 1:3, 2:5] = True
    assert_equal(backend("rasterize_polygons", [[rectangle]], box, (6, 8)), expected)
    # Twice the same outline in one polygon is outside again; as two polygons they are united.
    twice = rectangle + rectangle
    assert not backend("rasterize_polygons", [[twice]], box, (6, 8)).any()
    assert_equal(backend("rasterize_polygons", [[rectangle] * 2], box, (6, 8)), expected)
    # A box shorter than a pixel counts as one pixel.
    point = np.array([[10, 20, 10, 20]], np.float32)
    got = backend("rasterize_polygons", [[[10, 20, 10.5, 20, 10.5, 21, 10, 21]]], point, (4, 4))
    assert_equal(got[0], np.array([[True, True, False, False]] * 4))


def test_every_form_of_polygon(compiled: Backend) -> None:
    flat = [1, 1, 9, 2, 5, 8]
    box = np.array([[0, 0, 10, 10]], np.float32)
    expected = compiled("rasterize_polygons", [[flat]], box, 10)
    assert expected.any()
    for form in (
        tuple(flat),
        np.array(flat),
        np.array(flat, np.float32),
        np.array(flat, np.uint8),
        np.array(flat).reshape(3, 2),
        [(1, 1), (9, 2), (5, 8)],
    ):
        assert_equal(compiled("rasterize_polygons", [[form]], box, 10), expected)
        assert_equal(compiled("rasterize_polygons", ((form,),), box, 10), expected)


def test_torch_boxes_with_any_polygons() -> None:
    torch = pytest.importorskip("torch")
    flat = [1.0, 1, 9, 2, 5, 8]
    box = np.array([[0, 0, 10, 10]], np.float32)
    expected = roiops.rasterize_polygons([[flat]], box, 10)
    for form in (flat, np.array(flat), torch.tensor(flat), torch.tensor(flat).reshape(3, 2)):
        got = roiops.rasterize_polygons([[form]], torch.from_numpy(box), 10)
        assert_equal(got.numpy(), expected)
        assert isinstance(roiops.rasterize_polygons([[form]], box, 10), np.ndarray)


def test_nothing_to_fill(backend: Backend) -> None:
    none = np.zeros((0, 4), np.float32)
    assert_equal(backend("rasterize_polygons", [], none, (3, 4)), np.zeros((0, 3, 4), bool))
    boxes = np.array([[0, 0, 9, 9], [0, 0, 9, 9]], np.float32)
    got = backend("rasterize_polygons", [[], [[0, 0, 9, 0, 9, 9, 0, 9]]], boxes, 4)
    assert_equal(got, np.stack([np.zeros((4, 4), bool), np.ones((4, 4), bool)]))


def test_boxes_that_are_not_finite_are_empty(backend: Backend) -> None:
    nan, inf = np.nan, np.inf
    boxes = np.array(
        [
            [nan, 0, 5, 5],
            [0, nan, 5, 5],
            [0, 0, nan, 5],
            [0, 0, 5, inf],
            [-inf, 0, 5, 5],
            [0, 0, -inf, 5],
        ]
    )
    everything = [[-99, -99, 99, -99, 99, 99, -99, 99]]
    for dtype in (np.float32, np.float64):
        got = backend("rasterize_polygons", [everything] * 6, boxes.astype(dtype), 6)
        assert not got.any()
    overflowing = np.array([[-1e308, 0, 1e308, 5]])  # the side is infinite
    assert not backend("rasterize_polygons", [everything], overflowing, 6).any()


@pytest.mark.parametrize("extent", [1e6, 1e12, 1e30, 1e308])
def test_enormous_polygons_are_no_more_work(backend: Backend, extent) -> None:
    box = np.array([[0, 0, 8, 8]], np.float32)
    around = [-extent, -extent, extent, -extent, extent, extent, -extent, extent]
    assert backend("rasterize_polygons", [[around]], box, 8).all()
    half = [4, -extent, extent, -extent, extent, extent, 4, extent]
    expected = np.tile(np.arange(8) >= 4, (1, 8, 1))
    assert_equal(backend("rasterize_polygons", [[half]], box, 8), expected)
    steep = [0, 0, 8, extent, -extent, extent]
    shallow = np.reshape(steep, (-1, 2))[:, ::-1].ravel()
    for outline in (steep, shallow):
        expected = reference.rasterize_polygons([[outline]], box, 8)
        assert_equal(backend("rasterize_polygons", [[outline]], box, 8), expected)


def test_enormous_boxes(compiled: Backend) -> None:
    square = [[-99, -99, 99, -99, 99, 99, -99, 99]]
    boxes = np.array([[0, 0, 1e30, 1e30], [1e30, 0, 2e30, 9], [-1e5, -1e5, 1e5, 1e5]], np.float32)
    expected = reference.rasterize_polygons([square] * 3, boxes, 28)
    assert_equal(compiled("rasterize_polygons", [square] * 3, boxes, 28), expected)


def test_wrong_offsets_are_refused() -> None:
    torch = pytest.importorskip("torch")
    import roiops.nn  # noqa: F401  registers the operators

    vertices, boxes = torch.zeros(6, 2, dtype=torch.float64), torch.zeros(1, 4)
    call = torch.ops.roiops.rasterize_polygons
    for polygons, objects in (
        ([0, 7], [0, 1]),
        ([0, 5], [0, 1]),
        ([0, -3, 6], [0, 2]),
        ([0, 9, 6], [0, 2]),
        ([1, 6], [0, 1]),
        ([0, 6], [0, 2]),
        ([0, 6], [1, 1]),
        ([], [0, 0]),
    ):
        offsets = [torch.tensor(x, dtype=torch.int64) for x in (polygons, objects)]
        with pytest.raises(ValueError, match="must ascend from 0 to"):
            call(vertices, *offsets, boxes, 4, 4)
