"""roiops.nn.AnchorGenerator: torchvision's module, on grid_anchors."""

import copy
import pickle

import numpy as np
import pytest
from comparison import assert_same_bits
from hypothesis import given
from hypothesis import strategies as st

import roiops

torch = pytest.importorskip("torch")

from roiops.nn import AnchorGenerator  # noqa: E402

CONVENTIONS = ("torchvision", "detectron2", "detectron")
PYRAMID = ((32,), (64,), (128,), (256,), (512,))


class Images:
    """As much of torchvision's ImageList as is needed."""

    def __init__(self, tensors: "torch.Tensor", image_sizes: list) -> None:
        self.tensors, self.image_sizes = tensors, image_sizes


def batch(images: int, height: int, width: int) -> Images:
    sizes = [(height - i, width) for i in range(images)]
    return Images(torch.empty(images, 3, height, width), sizes)


def maps(*grids: tuple[int, int], dtype=torch.float32) -> list:
    return [torch.empty(2, 1, *grid, dtype=dtype) for grid in grids]


@st.composite
def levels(draw: st.DrawFn) -> tuple:
    count = draw(st.integers(1, 3))
    size = st.sampled_from([8, 23, 32, 45.5, 128, 512])
    ratio = st.sampled_from([0.25, 0.5, 1.0, 2.0, 3.0])
    sizes, ratios = (
        draw(st.lists(st.lists(of, min_size=1, max_size=3).map(tuple), min_size=count,
                      max_size=count))
        for of in (size, ratio)
    )  # fmt: skip
    grids = draw(st.lists(st.tuples(st.integers(1, 7), st.integers(1, 7)), min_size=count,
                          max_size=count))  # fmt: skip
    return tuple(sizes), tuple(ratios), grids


@given(
    levels=levels(),
    images=st.integers(0, 3),
    size=st.tuples(st.integers(7, 90), st.integers(7, 90)),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_equals_torchvision(levels, images, size, dtype) -> None:
    pytest.importorskip("torchvision")
    from torchvision.models.detection.anchor_utils import AnchorGenerator as Theirs

    sizes, ratios, grids = levels
    theirs, ours = Theirs(sizes, ratios), AnchorGenerator(sizes, ratios)
    assert ours.num_anchors_per_location() == theirs.num_anchors_per_location()
    for one, other in zip(ours.cell_anchors, theirs.cell_anchors, strict=True):
        assert_same_bits(one.numpy(), other.numpy())
    arguments = batch(images, *size), maps(*grids, dtype=dtype)
    got, expected = ours(*arguments), theirs(*arguments)
    assert len(got) == len(expected) == images
    for one, other in zip(got, expected, strict=True):
        assert_same_bits(one.numpy(), other.numpy())


@pytest.mark.parametrize("sizes", [(16, 32), PYRAMID, ((8, 16), (32, 64))])
@pytest.mark.parametrize("ratios", [(0.5, 1.0), None])
def test_short_forms_are_torchvisions(sizes, ratios) -> None:
    pytest.importorskip("torchvision")
    from torchvision.models.detection.anchor_utils import AnchorGenerator as Theirs

    ratios = ratios or ((0.5, 2.0),) * len(sizes)
    theirs, ours = Theirs(sizes, ratios), AnchorGenerator(sizes, ratios)
    assert (ours.sizes, ours.aspect_ratios) == (theirs.sizes, theirs.aspect_ratios)
    assert Theirs().sizes == AnchorGenerator().sizes
    assert Theirs().aspect_ratios == AnchorGenerator().aspect_ratios


def test_serves_a_torchvision_model() -> None:
    pytest.importorskip("torchvision")
    from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead

    ours = AnchorGenerator(((16, 32),), ((0.5, 1.0),))
    head = RPNHead(4, ours.num_anchors_per_location()[0])
    count = {"training": 50, "testing": 50}
    rpn = RegionProposalNetwork(ours, head, 0.7, 0.3, 256, 0.5, count, count, 0.7).eval()
    features = torch.randn(2, 4, 6, 8, generator=torch.Generator().manual_seed(0))
    boxes, _ = rpn(batch(2, 96, 128), {"0": features})
    assert len(boxes) == 2
    assert all(len(of_image) for of_image in boxes)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_is_grid_anchors_with_the_strides_of_the_batch(convention) -> None:
    generator = AnchorGenerator(((8, 12), (32,)), ((1.0, 2.0), (0.5,)), convention=convention)
    anchors = generator(batch(2, 33, 64), maps((4, 8), (2, 4)))
    expected = roiops.grid_anchors(
        [(4, 8), (2, 4)], [(8, 8), (16, 16)], ((8, 12), (32,)), ((1.0, 2.0), (0.5,)),
        convention=convention,
    )  # fmt: skip
    for of_image in anchors:
        assert_same_bits(of_image.numpy(), np.concatenate(expected))
    assert anchors[0].data_ptr() != anchors[1].data_ptr()  # to be clipped in place, say


def test_detectron2_by_hand() -> None:
    generator = AnchorGenerator(((23,),), ((1.0,),), convention="detectron2")
    half = torch.tensor([[-11.5, -11.5, 11.5, 11.5]])
    assert torch.equal(generator.cell_anchors[0], half)
    (anchors,) = generator(batch(1, 32, 64), maps((2, 2)))
    shifts = torch.tensor([[0, 0], [32, 0], [0, 16], [32, 16]]).repeat(1, 2)
    assert torch.equal(anchors, half + shifts)


def test_detectron_by_hand() -> None:
    # Faster R-CNN's own table: at stride 16, size 128, ratio 1 its rows, counted from 1, say
    # -55 -55 72 72.
    generator = AnchorGenerator(((128,),), ((1.0,),), convention="detectron")
    assert generator.cell_anchors is None
    (anchors,) = generator(batch(1, 32, 32), maps((2, 2)))
    first = torch.tensor([[-56.0, -56, 71, 71]])
    shifts = torch.tensor([[0, 0], [16, 0], [0, 16], [16, 16]]).repeat(1, 2)
    assert torch.equal(anchors, first + shifts)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_anchors_of_half_maps_are_float32(dtype) -> None:
    generator = AnchorGenerator(((32,),), ((1.0,),))
    images = batch(1, 4096, 16)
    (anchors,) = generator(images, maps((256, 1), dtype=dtype))
    assert anchors.dtype == torch.float32
    assert torch.equal(anchors, generator(images, maps((256, 1)))[0])


def test_a_map_without_cells_has_no_anchors() -> None:
    generator = AnchorGenerator((8, 16), (1.0,))
    (anchors,) = generator(batch(1, 16, 16), maps((2, 2), (0, 1)))
    assert torch.equal(anchors, generator(batch(1, 16, 16), maps((2, 2), (1, 1)))[0][:4])


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_the_same(copied, convention) -> None:
    generator = AnchorGenerator(((8, 12), (32,)), ((1.0, 2.0), (0.5,)), convention=convention)
    arguments = batch(1, 32, 64), maps((4, 8), (2, 4))
    assert torch.equal(copied(generator)(*arguments)[0], generator(*arguments)[0])


@pytest.mark.parametrize("dynamic", [False, True])
def test_is_compiled_whole(dynamic) -> None:
    generator = AnchorGenerator(((8, 12), (32,)), ((1.0, 2.0), (0.5,)))

    class Anchors(torch.nn.Module):
        def forward(self, images, *features):
            sizes = [images.shape[-2:]] * images.shape[0]
            return generator(Images(images, sizes), features)

    compiled = torch.compile(Anchors(), fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for size in (32, 48):
        arguments = torch.zeros(2, 3, size, 64), *maps((4, 8), (2, 4))
        for got, expected in zip(compiled(*arguments), Anchors()(*arguments), strict=True):
            assert torch.equal(got, expected)


@pytest.mark.parametrize(
    ("sizes", "ratios", "convention", "message"),
    [
        (((8,), (16,)), ((1.0,),), "torchvision", r"aspect_ratios must .*\(2\); got 1"),
        (((8,), (0,)), (1.0,), "torchvision", "sizes must be greater than 0; got 0"),
        (((8,),), ((-1.0,),), "detectron", "aspect_ratios must be greater than 0; got -1"),
        (((8,),), ((1.0,),), "caffe", "convention must .*; got 'caffe'"),
    ],
)
def test_wrong_arguments(sizes, ratios, convention, message) -> None:
    with pytest.raises(ValueError, match=message):
        AnchorGenerator(sizes, ratios, convention=convention)


def test_wrong_maps() -> None:
    generator = AnchorGenerator((8, 16), (1.0,))
    with pytest.raises(ValueError, match=r"sizes must have one entry per level \(1\); got 2"):
        generator(batch(1, 16, 16), maps((2, 2)))
    larger = r"feature_maps\[1\] must not be larger than the images \(16, 16\); got \(17, 1\)"
    with pytest.raises(ValueError, match=larger):
        generator(batch(1, 16, 16), maps((2, 2), (17, 1)))
    with pytest.raises(TypeError, match=r"image_list must have tensors .*; got NoneType"):
        generator(None, maps((2, 2)))
    for wrong in (None, [], {"a": maps((2, 2))[0]}):
        with pytest.raises(TypeError, match="feature_maps must be a list of tensors"):
            generator(batch(1, 16, 16), wrong)
    with pytest.raises(TypeError, match=r"feature_maps\[0\] must be a tensor .*; got str"):
        generator(batch(1, 16, 16), ["ab"])
