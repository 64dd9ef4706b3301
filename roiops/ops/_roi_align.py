"""RoIAlign's operators as the compiled module and torch see them.

Always a list of maps: one for ``roi_align``, ``roi_warp``, ``ps_roi_align`` and ``ps_roi_pool``,
the pyramid for ``multiscale_roi_align``; ``placement`` tells them apart. Arguments are positional,
in the order of the schemas at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from roiops import _check
from roiops._arrays import Array, Namespace, adopt
from roiops._operators import Operator

_MAX_SAMPLING_RATIO = 4096
MAX_SIDE = 2**30  # cells; up to there a float32 sample coordinate fits an int32
REDUCTIONS = ("mean", "max")


def pool(
    op: str,
    input: Array,
    boxes: Array | Sequence[Array],
    output_size: int | tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int,
    placement: str,
    reduction: str = "mean",
) -> Array:
    """What ``roi_align`` and its kin are on one map: their arguments, and where samples lie."""
    xp, input, boxes = adopt(op, lists=["boxes"], input=input, boxes=boxes)
    rois = as_rois(op, xp, boxes, input)
    height, width = _check.size_pair(op, "output_size", output_size)
    scale = _check.number(op, "spatial_scale", spatial_scale, low=0)
    _check.choice(op, "reduction", reduction, REDUCTIONS)
    return xp.call(
        FORWARD, [input], rois, None, height, width, [scale],
        sampling(op, sampling_ratio), placement, reduction,
    )  # fmt: skip


def pool_backward(
    op: str,
    grad_output: Array,
    input: Array,
    boxes: Array | Sequence[Array],
    spatial_scale: float,
    sampling_ratio: int,
    placement: str,
    reduction: str = "mean",
) -> tuple[Array, Array | None]:
    """Its gradients: by the input, and by the rois where they have one."""
    xp, grad_output, input, boxes = adopt(
        op, lists=["boxes"], grad_output=grad_output, input=input, boxes=boxes
    )
    rois = as_rois(op, xp, boxes, input)
    scale = _check.number(op, "spatial_scale", spatial_scale, low=0)
    _check.choice(op, "reduction", reduction, REDUCTIONS)
    samples = sampling(op, sampling_ratio)
    args = (grad_output, [input], rois, None, [scale], samples, placement, reduction)
    grad_rois = xp.call(GRAD_ROIS, *args) if has_box_gradient(placement) else None
    return xp.call(GRAD_INPUT, *args)[0], grad_rois


def sampling(op: str, sampling_ratio: Any) -> int:
    """Samples per bin and axis, -1 for as many as the box asks for."""
    return max(_check.whole(op, "sampling_ratio", sampling_ratio, high=_MAX_SAMPLING_RATIO), -1)


def placement_of(op: str, aligned: Any) -> str:
    return "aligned" if _check.flag(op, "aligned", aligned) else "align"


def as_rois(op: str, xp: Namespace, boxes: Array | Sequence[Array], input: Array) -> Array:
    """(K, 5) from either form of ``boxes``."""
    if not isinstance(boxes, (list, tuple)):
        return _check.promoted(xp, boxes)
    images = input.shape[0] if len(input.shape) == 4 else None
    if images is not None and len(boxes) != images:
        raise ValueError(
            f"{op}: boxes must be a list of one (L, 4) array per image ({images}); got {len(boxes)}"
        )
    parts = []
    if len(boxes) == 0:
        return xp.empty((0, 5), "float32", input)
    # Before the image's number joins: 16 bits cannot hold it.
    boxes = [_check.promoted(xp, b) for b in boxes]
    for i, b in enumerate(boxes):
        _check.shape(op, f"boxes[{i}]", "(L, 4)", b, len(b.shape) == 2 and b.shape[1] == 4)
        _check.same_dtype(op, f"boxes[{i}]", xp, b, "boxes[0]", boxes[0])
        parts.append(xp.concatenate([xp.full_like(b[:, :1], i), b], 1))
    return xp.concatenate(parts, 0)


def check_rois(op: str, xp: Namespace, rois: Array) -> None:
    size = rois.shape
    if not (len(size) == 2 and size[1] == 5):
        raise ValueError(
            f"{op}: boxes must have shape (K, 5) [batch_index, x1, y1, x2, y2] or be a list of "
            f"(L, 4); got {tuple(rois.shape)}"
        )
    _check.floating(op, "boxes", xp, rois, "floating")


def check_map(op: str, name: str, xp: Namespace, x: Array) -> None:
    size = x.shape
    ok = len(size) == 4 and 0 < size[2] <= MAX_SIDE and 0 < size[3] <= MAX_SIDE
    _check.shape(op, name, "(N, C, H, W) with H, W from 1 to 2^30", x, ok)
    _check.features(op, name, xp, x)


def _check_maps(
    op: str, xp: Namespace, inputs: Sequence[Array], rois: Array, levels: Array | None,
    sampling_ratio: int, reduction: str,
) -> None:  # fmt: skip
    first = inputs[0]
    for i, x in enumerate(inputs):
        name = "input" if levels is None else f"inputs[{i}]"
        check_map(op, name, xp, x)
        if i:
            _check.shape(op, name, f"({first.shape[0]}, {first.shape[1]}, H, W) like inputs[0]", x,
                         tuple(x.shape[:2]) == tuple(first.shape[:2]))  # fmt: skip
            _check.same_dtype(op, name, xp, x, "inputs[0]", first)
    check_rois(op, xp, rois)
    if levels is not None:
        _check.shape(op, "levels", f"({rois.shape[0]},), one per box", levels,
                     len(levels.shape) == 1 and levels.shape[0] == rois.shape[0])  # fmt: skip
        _check.integer(op, "levels", xp, levels)
    if sampling_ratio > _MAX_SAMPLING_RATIO:
        raise ValueError(
            f"{op}: sampling_ratio must be at most {_MAX_SAMPLING_RATIO}; got {sampling_ratio}"
        )
    _check.choice(op, "reduction", reduction, REDUCTIONS)


def _pooled_channels(op: str, input: Array, height: int, width: int, placement: str) -> int:
    channels = input.shape[1]
    if not _position_sensitive(placement):
        return channels
    if channels % (height * width):
        raise ValueError(
            f"{op}: input must have a multiple of {height} * {width} channels, output_size's bins; "
            f"got {tuple(input.shape)}"
        )
    return channels // (height * width)


def check_grad_output(
    op: str, xp: Namespace, grad_output: Array, input: Array, rois: Array, placement: str = "align"
) -> None:
    count, channels, size = rois.shape[0], input.shape[1], tuple(grad_output.shape)
    bounded = all(side <= _check.MAX_OUTPUT_SIDE for side in size[2:])
    if _position_sensitive(placement):
        _check.shape(
            op, "grad_output",
            f"({count}, C, height, width), sides up to 2^31 - 1, C * height * width = {channels}",
            grad_output, len(size) == 4 and size[0] == count and 0 not in size[2:] and bounded
            and size[1] * size[2] * size[3] == channels,
        )  # fmt: skip
    else:
        _check.shape(op, "grad_output",
                     f"({count}, {channels}, height, width), sides up to 2^31 - 1", grad_output,
                     len(size) == 4 and size[:2] == (count, channels) and bounded)  # fmt: skip
    _check.same_dtype(op, "grad_output", xp, grad_output, "input", input)


def empty_like_map(xp: Namespace, shape: tuple[int, int, int, int], like: Array) -> Array:
    """Uninitialised, in the memory format (NCHW or channels_last) of ``like``."""
    _, channels, rows, cols = like.shape
    channel, row, cell = xp.strides(like)[1:]
    if channel == 1 and channels > 1 and (cell > 1 or cols == 1) and (row > 1 or rows == 1):
        return xp.empty_channels_last(shape, xp.dtype(like), like)
    return xp.empty(shape, xp.dtype(like), like)


def _describe(xp: Namespace, inputs: Sequence[Array], rois: Array, levels: Array | None) -> Any:
    return (
        [xp.describe(x) for x in inputs],
        xp.describe(rois),
        None if levels is None else xp.describe(levels),
    )


# fmt: off
def _allocate(
    xp, inputs, rois, levels, height, width, scales, sampling_ratio, placement, reduction
):
    op = _name(placement, levels)
    _check_maps(op, xp, inputs, rois, levels, sampling_ratio, reduction)
    channels = _pooled_channels(op, inputs[0], height, width, placement)
    return empty_like_map(xp, (rois.shape[0], channels, height, width), inputs[0])


def _compute(
    xp, output, inputs, rois, levels, height, width, scales, sampling_ratio, placement, reduction
):
    xp.core.roi_align_forward(
        xp.describe(output), *_describe(xp, inputs, rois, levels), scales, sampling_ratio,
        placement, reduction == "max", xp.execution(), [],
    )


def _allocate_directional(
    xp, values, inputs, rois, levels, height, width, scales, sampling_ratio, placement
):
    return _allocate(
        xp, inputs, rois, levels, height, width, scales, sampling_ratio, placement, "max"
    )


def _compute_directional(
    xp, output, values, inputs, rois, levels, height, width, scales, sampling_ratio, placement
):
    xp.core.roi_align_forward(
        xp.describe(output), *_describe(xp, inputs, rois, levels), scales, sampling_ratio,
        placement, True, xp.execution(), [xp.describe(v) for v in values],
    )


def _allocate_grad_inputs(
    xp, grad_output, inputs, rois, levels, scales, sampling_ratio, placement, reduction
):
    op = _name(placement, levels, "_backward")
    _check_maps(op, xp, inputs, rois, levels, sampling_ratio, reduction)
    check_grad_output(op, xp, grad_output, inputs[0], rois, placement)
    return [empty_like_map(xp, tuple(x.shape), x) for x in inputs]


def _compute_grad_inputs(
    xp, grad_inputs, grad_output, inputs, rois, levels, scales, sampling_ratio, placement, reduction
):
    xp.core.roi_align_grad_input(
        [xp.describe(g) for g in grad_inputs], xp.describe(grad_output),
        *_describe(xp, inputs, rois, levels), scales, sampling_ratio, placement, reduction == "max",
        xp.execution(),
    )


def _allocate_grad_rois(
    xp, grad_output, inputs, rois, levels, scales, sampling_ratio, placement, reduction
):
    op = _name(placement, levels, "_backward")
    _check_maps(op, xp, inputs, rois, levels, sampling_ratio, reduction)
    check_grad_output(op, xp, grad_output, inputs[0], rois, placement)
    return xp.empty(tuple(rois.shape), xp.dtype(rois), rois)


def _compute_grad_rois(
    xp, grad_rois, grad_output, inputs, rois, levels, scales, sampling_ratio, placement, reduction
):
    xp.core.roi_align_grad_rois(
        xp.describe(grad_rois), xp.describe(grad_output), *_describe(xp, inputs, rois, levels),
        scales, sampling_ratio, placement, reduction == "max", xp.execution(),
    )


# torch's autograd: ``save`` keeps what ``backward`` needs. Backward functions run under torch only.


def _save_forward(ctx, inputs, output):
    maps, rois, levels, _height, _width, *ctx.options = inputs
    ctx.save_for_backward(rois, levels, *maps)


def _backward(xp, ctx, grad_output):
    rois, levels, *maps = ctx.saved_tensors
    args = (grad_output, maps, rois, levels, *ctx.options)
    needs_maps = any(ctx.needs_input_grad[0])
    grad_maps = xp.call(GRAD_INPUT, *args) if needs_maps else [None] * len(maps)
    needs_rois = ctx.needs_input_grad[1] and has_box_gradient(ctx.options[2])
    grad_rois = xp.call(GRAD_ROIS, *args) if needs_rois else None
    return grad_maps, grad_rois, *[None] * 7


def _save_grad_input(ctx, inputs, output):
    grad_output, maps, rois, levels, *ctx.options = inputs
    ctx.size = grad_output.shape[2:]
    ctx.save_for_backward(rois, levels, *maps)


def _backward_grad_input(xp, ctx, grads):
    """The gradient of the input is linear in the output's gradient, and for the mean does not
    depend on the input at all (for the maximum: almost everywhere)."""
    _refuse_mixed(ctx.needs_input_grad[2], ctx.options)
    rois, levels, *maps = ctx.saved_tensors
    scales, sampling_ratio, placement, reduction = ctx.options
    if reduction == "mean":
        result = xp.call(FORWARD, grads, rois, levels, *ctx.size, *ctx.options)
    else:
        result = xp.call(
            _DIRECTIONAL, grads, maps, rois, levels, *ctx.size, scales, sampling_ratio, placement
        )
    return result, [None] * len(maps), *[None] * 6


def _save_directional(ctx, inputs, output):
    _values, maps, rois, levels, _height, _width, *ctx.options = inputs
    ctx.save_for_backward(rois, levels, *maps)


def _backward_directional(xp, ctx, grad_output):
    _refuse_mixed(ctx.needs_input_grad[2], ctx.options)
    rois, levels, *maps = ctx.saved_tensors
    grads = xp.call(GRAD_INPUT, grad_output, maps, rois, levels, *ctx.options, "max")
    return grads, [None] * len(maps), *[None] * 7


def _save_grad_rois(ctx, inputs, output):
    _grad_output, _maps, _rois, _levels, *ctx.options = inputs


def _backward_grad_rois(xp, ctx, grads):
    _refuse_mixed(True, ctx.options)


def _refuse_mixed(asked, options):
    if asked and has_box_gradient(options[2]):
        raise RuntimeError(
            f"{_name(options[2], None)}: the second derivative through boxes is not implemented; "
            "detach the boxes (boxes.detach()) where you differentiate twice"
        )


def has_box_gradient(placement):
    return placement != "ps_pool"


def _position_sensitive(placement):
    return placement.startswith("ps_")


def _name(placement, levels, suffix=""):
    if placement.startswith("warp"):
        return "roi_warp" + suffix
    if _position_sensitive(placement):
        return placement.replace("ps_", "ps_roi_") + suffix
    return ("roi_align" if levels is None else "multiscale_roi_align") + suffix


_OPTIONS = "float[] spatial_scales, int sampling_ratio, str placement"
FORWARD = Operator(
    "roi_align",
    "(Tensor[] inputs, Tensor rois, Tensor? levels, SymInt height, SymInt width, "
    f"{_OPTIONS}, str reduction) -> Tensor",
    _allocate, _compute, _save_forward, _backward,
)
GRAD_INPUT = Operator(
    "roi_align_grad_input",
    "(Tensor grad_output, Tensor[] inputs, Tensor rois, Tensor? levels, "
    f"{_OPTIONS}, str reduction) -> Tensor[]",
    _allocate_grad_inputs, _compute_grad_inputs, _save_grad_input, _backward_grad_input,
)
GRAD_ROIS = Operator(
    "roi_align_grad_rois",
    "(Tensor grad_output, Tensor[] inputs, Tensor rois, Tensor? levels, "
    f"{_OPTIONS}, str reduction) -> Tensor",
    _allocate_grad_rois, _compute_grad_rois, _save_grad_rois, _backward_grad_rois,
)
# The derivative of the maximum in the direction ``values``: its second derivative needs it.
_DIRECTIONAL = Operator(
    "roi_align_directional",
    "(Tensor[] values, Tensor[] inputs, Tensor rois, Tensor? levels, SymInt height, SymInt width, "
    f"{_OPTIONS}) -> Tensor",
    _allocate_directional, _compute_directional, _save_directional, _backward_directional,
)
