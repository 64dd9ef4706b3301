"""The operators as torch modules, with torchvision's constructors.

Arguments are checked when a module is made. Modules have neither parameters nor buffers. Importing
this also registers ``torch.ops.roiops``, whatever was imported first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

import roiops._torch  # noqa: F401
from roiops import _check
from roiops.ops._roi_align import REDUCTIONS, placement_of, sampling
from roiops.ops.anchors import cell_anchors, grid_anchors
from roiops.ops.multiscale_roi_align import multiscale_roi_align
from roiops.ops.ps_roi_align import ps_roi_align
from roiops.ops.ps_roi_pool import ps_roi_pool
from roiops.ops.roi_align import roi_align
from roiops.ops.roi_pool import roi_pool
from roiops.ops.roi_warp import PLACEMENTS, roi_warp

Size = int | tuple[int, int]


class RoIAlign(nn.Module):
    """``roiops.roi_align`` as a module; ``aligned`` is False by default, as in torchvision.

    >>> import torch, roiops
    >>> pool = roiops.RoIAlign(7, 1 / 16, 2, aligned=True)
    >>> pool
    RoIAlign(output_size=7, spatial_scale=0.0625, sampling_ratio=2, aligned=True)
    >>> pool(torch.rand(1, 256, 50, 84), [torch.tensor([[0.0, 0.0, 320.0, 160.0]])]).shape
    torch.Size([1, 256, 7, 7])
    """

    def __init__(
        self,
        output_size: Size,
        spatial_scale: float,
        sampling_ratio: int,
        aligned: bool = False,
        *,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        _check_pooling(self, output_size, spatial_scale)
        sampling("RoIAlign", sampling_ratio)
        placement_of("RoIAlign", aligned)
        _check.choice("RoIAlign", "reduction", reduction, REDUCTIONS)
        self.output_size = output_size
        self.spatial_scale = spatial_scale
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned
        self.reduction = reduction

    def forward(self, input: Tensor, rois: Tensor | list[Tensor]) -> Tensor:
        return roi_align(
            input, rois, self.output_size, self.spatial_scale, self.sampling_ratio, self.aligned,
            reduction=self.reduction,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, spatial_scale={self.spatial_scale}, "
            f"sampling_ratio={self.sampling_ratio}, aligned={self.aligned}"
            + _unusual(self, reduction="mean")
        )


class RoIPool(nn.Module):
    """``roiops.roi_pool`` as a module.

    >>> import torch, roiops
    >>> pool = roiops.RoIPool((7, 5), 1 / 16)
    >>> pool(torch.rand(1, 256, 50, 84), torch.tensor([[0, 0.0, 0.0, 320.0, 160.0]])).shape
    torch.Size([1, 256, 7, 5])
    """

    def __init__(self, output_size: Size, spatial_scale: float) -> None:
        super().__init__()
        _check_pooling(self, output_size, spatial_scale)
        self.output_size = output_size
        self.spatial_scale = spatial_scale

    def forward(self, input: Tensor, rois: Tensor | list[Tensor]) -> Tensor:
        return roi_pool(input, rois, self.output_size, self.spatial_scale)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}, spatial_scale={self.spatial_scale}"


class RoIWarp(nn.Module):
    """``roiops.roi_warp`` as a module.

    >>> import torch, roiops
    >>> pool = roiops.RoIWarp(14, 1 / 16, convention="mnc")
    >>> pool(torch.rand(1, 256, 50, 84), torch.tensor([[0, 0.0, 0.0, 320.0, 160.0]])).shape
    torch.Size([1, 256, 14, 14])
    """

    def __init__(
        self,
        output_size: Size,
        spatial_scale: float,
        sampling_ratio: int = -1,
        *,
        reduction: str = "mean",
        convention: str = "paper",
    ) -> None:
        super().__init__()
        _check_pooling(self, output_size, spatial_scale)
        sampling("RoIWarp", sampling_ratio)
        _check.choice("RoIWarp", "reduction", reduction, REDUCTIONS)
        _check.choice("RoIWarp", "convention", convention, tuple(PLACEMENTS))
        self.output_size = output_size
        self.spatial_scale = spatial_scale
        self.sampling_ratio = sampling_ratio
        self.reduction = reduction
        self.convention = convention

    def forward(self, input: Tensor, rois: Tensor | list[Tensor]) -> Tensor:
        return roi_warp(
            input, rois, self.output_size, self.spatial_scale, self.sampling_ratio,
            reduction=self.reduction, convention=self.convention,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, spatial_scale={self.spatial_scale}, "
            f"sampling_ratio={self.sampling_ratio}"
            + _unusual(self, reduction="mean", convention="paper")
        )


class PSRoIAlign(nn.Module):
    """``roiops.ps_roi_align`` as a module.

    >>> import torch, roiops
    >>> pool = roiops.PSRoIAlign(7, 1 / 16, 2)
    >>> pool(torch.rand(1, 21 * 49, 50, 84), torch.tensor([[0, 0.0, 0.0, 320.0, 160.0]])).shape
    torch.Size([1, 21, 7, 7])
    """

    def __init__(self, output_size: Size, spatial_scale: float, sampling_ratio: int) -> None:
        super().__init__()
        _check_pooling(self, output_size, spatial_scale)
        sampling("PSRoIAlign", sampling_ratio)
        self.output_size = output_size
        self.spatial_scale = spatial_scale
        self.sampling_ratio = sampling_ratio

    def forward(self, input: Tensor, rois: Tensor | list[Tensor]) -> Tensor:
        return ps_roi_align(input, rois, self.output_size, self.spatial_scale, self.sampling_ratio)

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, spatial_scale={self.spatial_scale}, "
            f"sampling_ratio={self.sampling_ratio}"
        )


class PSRoIPool(nn.Module):
    """``roiops.ps_roi_pool`` as a module.

    >>> import torch, roiops
    >>> pool = roiops.PSRoIPool(7, 1 / 16)
    >>> pool(torch.rand(1, 21 * 49, 50, 84), torch.tensor([[0, 0.0, 0.0, 320.0, 160.0]])).shape
    torch.Size([1, 21, 7, 7])
    """

    def __init__(self, output_size: Size, spatial_scale: float) -> None:
        super().__init__()
        _check_pooling(self, output_size, spatial_scale)
        self.output_size = output_size
        self.spatial_scale = spatial_scale

    def forward(self, input: Tensor, rois: Tensor | list[Tensor]) -> Tensor:
        return ps_roi_pool(input, rois, self.output_size, self.spatial_scale)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}, spatial_scale={self.spatial_scale}"


class MultiScaleRoIAlign(nn.Module):
    """``roiops.multiscale_roi_align`` of a backbone's dict of feature maps.

    Args:
        featmap_names: keys of the maps to pool from. Their order is the dict's, finest map first.
        output_size, sampling_ratio, canonical_scale, canonical_level: as in
            ``multiscale_roi_align``.

    The first call finds the ``scales``, as in torchvision: of each map the power of two nearest to
    its height over that of the largest image. Later calls use the same, so that a small image, of
    which padding is a large part, does not change them.

    >>> import torch, roiops
    >>> pool = roiops.MultiScaleRoIAlign(["p2", "p3"], 7, 2)
    >>> pool
    MultiScaleRoIAlign(featmap_names=['p2', 'p3'], output_size=(7, 7), sampling_ratio=2)
    >>> maps = {"p2": torch.rand(1, 8, 64, 64), "p3": torch.rand(1, 8, 32, 32)}
    >>> boxes = [torch.tensor([[8.0, 8.0, 40.0, 40.0], [0.0, 0.0, 200.0, 200.0]])]
    >>> pool(maps, boxes, [(256, 256)]).shape
    torch.Size([2, 8, 7, 7])
    >>> pool.scales
    [0.25, 0.125]
    """

    scales: list[float] | None

    def __init__(
        self,
        featmap_names: list[str],
        output_size: Size,
        sampling_ratio: int,
        *,
        canonical_scale: int = 224,
        canonical_level: int = 4,
    ) -> None:
        super().__init__()
        op = "MultiScaleRoIAlign"
        names = _check.sequence(op, "featmap_names", featmap_names, "names of maps")
        if not names or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{op}: featmap_names must hold names, at least one; got {names!r}")
        sampling(op, sampling_ratio)
        _check.number(op, "canonical_scale", canonical_scale, low=0)
        _check.whole(op, "canonical_level", canonical_level)
        self.featmap_names = featmap_names
        self.sampling_ratio = sampling_ratio
        self.output_size = _check.size_pair(op, "output_size", output_size)
        self.scales = None
        self.canonical_scale = canonical_scale
        self.canonical_level = canonical_level

    def forward(
        self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]
    ) -> Tensor:
        """Maps by name, boxes (L, 4) in pixels and (height, width) of each image that the backbone
        got → (K, C, *output_size)."""
        op = "MultiScaleRoIAlign"
        if not isinstance(x, dict):
            raise TypeError(f"{op}: x must be a dict of feature maps; got {type(x).__name__}")
        missing = [name for name in self.featmap_names if name not in x]
        if missing:
            raise ValueError(f"{op}: x must hold the maps {missing}; got {list(x)}")
        maps = [x[name] for name in x if name in self.featmap_names]
        if self.scales is None:
            self.scales = _inferred_scales(op, maps, image_shapes)
        return multiscale_roi_align(
            maps, boxes, self.output_size, self.scales, self.sampling_ratio,
            canonical_scale=self.canonical_scale, canonical_level=self.canonical_level,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return (
            f"featmap_names={self.featmap_names}, output_size={self.output_size}, "
            f"sampling_ratio={self.sampling_ratio}"
            + _unusual(self, canonical_scale=224, canonical_level=4)
        )


def _inferred_scales(
    op: str, maps: Sequence[Tensor], image_shapes: Sequence[tuple[int, int]]
) -> list[float]:
    shapes = _check.sequence(op, "image_shapes", image_shapes, "(height, width)")
    heights = [_check.size_pair(op, "image_shapes", shape)[0] for shape in shapes]
    if not heights:
        raise ValueError(f"{op}: image_shapes must have one (height, width) per image; got none")
    for map in maps:
        _check.shape(op, "x", "(N, C, H, W)", map, len(map.shape) == 4 and map.shape[2] > 0)
    return [2.0 ** round(math.log2(map.shape[2] / max(heights))) for map in maps]


def _check_pooling(module: nn.Module, output_size: Size, spatial_scale: float) -> None:
    op = type(module).__name__
    _check.size_pair(op, "output_size", output_size)
    _check.number(op, "spatial_scale", spatial_scale, low=0)


def _unusual(module: nn.Module, **defaults: object) -> str:
    """Of the options that torchvision does not show, those that differ from their default."""
    values = {name: getattr(module, name) for name in defaults}
    return "".join(f", {n}={value!r}" for n, value in values.items() if value != defaults[n])


class AnchorGenerator(nn.Module):
    """Anchors of every image of a batch, in place of torchvision's class of that name.

    Args:
        sizes: of each feature map, square roots of the anchors' areas in pixels; or one number per
            map.
        aspect_ratios: of each feature map, height / width; or one tuple for all.
        convention: "torchvision", "detectron2" or "detectron", as in ``roiops.grid_anchors``.

    ``cell_anchors`` lists the (A, 4) float32 anchors of each map's first cell; None in the
    convention "detectron", where they depend on the stride.

    >>> import torch
    >>> from types import SimpleNamespace
    >>> images = SimpleNamespace(tensors=torch.zeros(1, 3, 16, 32), image_sizes=[(16, 30)])
    >>> AnchorGenerator(sizes=((32,),), aspect_ratios=((1.0,),))(images, [torch.zeros(1, 8, 1, 2)])
    [tensor([[-16., -16.,  16.,  16.],
            [  0., -16.,  32.,  16.]])]
    """

    def __init__(
        self,
        sizes: Sequence[Any] = ((128, 256, 512),),
        aspect_ratios: Sequence[Any] = ((0.5, 1.0, 2.0),),
        *,
        convention: str = "torchvision",
    ) -> None:
        super().__init__()
        if not any(isinstance(entry, (list, tuple)) for entry in sizes):
            sizes = tuple((size,) for size in sizes)
        if not any(isinstance(entry, (list, tuple)) for entry in aspect_ratios):
            aspect_ratios = (aspect_ratios,) * len(sizes)
        if len(sizes) != len(aspect_ratios):
            raise ValueError(
                "AnchorGenerator: aspect_ratios must have one entry per entry of sizes "
                f"({len(sizes)}); got {len(aspect_ratios)}"
            )
        self.sizes, self.aspect_ratios, self.convention = sizes, aspect_ratios, convention
        # Made in each convention: it checks the numbers.
        cells = [
            cell_anchors(*level, convention=convention, stride=1, like=torch.empty(0))
            for level in zip(sizes, aspect_ratios, strict=True)
        ]
        self.cell_anchors = None if convention == "detectron" else cells

    def num_anchors_per_location(self) -> list[int]:
        return [len(s) * len(r) for s, r in zip(self.sizes, self.aspect_ratios, strict=True)]

    def forward(self, image_list: Any, feature_maps: Sequence[Tensor]) -> list[Tensor]:
        """Anchors (sum of H * W * A, 4) of each image, map by map in the order y, x, anchor.

        ``image_list`` has ``tensors`` (N, C, H, W), the padded batch, and ``image_sizes``, of which
        only the number counts. A map's stride is the batch's size // the map's. The anchors are
        float64 for float64 maps, else float32, also where the maps are 16-bit: these cannot hold
        the coordinates of a picture.
        """
        _check_images(image_list, feature_maps)
        height, width = image_list.tensors.shape[-2:]
        grids = [(feature_map.shape[-2], feature_map.shape[-1]) for feature_map in feature_maps]
        # A map without cells has no anchors, whatever its stride.
        strides = [(height // max(rows, 1), width // max(cols, 1)) for rows, cols in grids]
        wide = feature_maps[0].dtype == torch.float64
        dtype = torch.float64 if wide else torch.float32
        like = torch.empty(0, dtype=dtype, device=feature_maps[0].device)
        levels = grid_anchors(
            grids, strides, self.sizes, self.aspect_ratios, convention=self.convention, like=like
        )
        return [torch.cat(levels) for _ in image_list.image_sizes]


def _check_images(image_list: Any, feature_maps: Any) -> None:
    op = "AnchorGenerator"
    tensors = getattr(image_list, "tensors", None)
    if not isinstance(tensors, Tensor) or not hasattr(image_list, "image_sizes"):
        raise TypeError(
            f"{op}: image_list must have tensors (N, C, H, W) and image_sizes, as torchvision's "
            f"ImageList; got {type(image_list).__name__}"
        )
    _check.shape(op, "image_list.tensors", "(N, C, H, W)", tensors, len(tensors.shape) == 4)
    if not isinstance(feature_maps, (list, tuple)) or not feature_maps:
        raise TypeError(
            f"{op}: feature_maps must be a list of tensors, at least one; got {feature_maps!r}"
        )
    for i, x in enumerate(feature_maps):
        if not isinstance(x, Tensor):
            raise TypeError(
                f"{op}: feature_maps[{i}] must be a tensor (N, C, H, W); got {type(x).__name__}"
            )
        _check.shape(op, f"feature_maps[{i}]", "(N, C, H, W)", x, len(x.shape) == 4)
        if any(n > m for n, m in zip(x.shape[-2:], tensors.shape[-2:], strict=True)):
            raise ValueError(
                f"{op}: feature_maps[{i}] must not be larger than the images "
                f"{tuple(tensors.shape[-2:])}; got {tuple(x.shape[-2:])}"
            )
