"""torch: the namespace of tensors, and the registration of every operator with torch.library.

Imported only when torch is already there (see ``_arrays.load_torch``). The operators are
``torch.ops.roiops.*``, with fake kernels and autograd; the compiled module behind them knows
nothing of torch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import Proxy as Proxy

from roiops import _cpu, _gpu, _operators
from roiops._arrays import first_of
from roiops._torch_calls import direct, mark_not_differentiable

_DTYPES = {
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
    torch.float32: "float32",
    torch.float64: "float64",
    torch.int8: "int8",
    torch.uint8: "uint8",
    torch.int16: "int16",
    torch.int32: "int32",
    torch.int64: "int64",
    torch.bool: "bool",
}
_NAMES = {name: dtype for dtype, name in _DTYPES.items()}
_DESCRIBED = {dtype: (name, dtype.itemsize) for dtype, name in _DTYPES.items()}


STRIDED = torch.strided


class Torch:
    """Tensors on whatever device; what computes by itself computes on the CPU."""

    name = "torch"
    core: Any = _cpu

    def call(self, operator: _operators.Operator, *args: Any) -> Any:
        if not torch.compiler.is_compiling():
            result = _DIRECT[operator.name](args)
            if result is not NotImplemented:
                return result
        return _OVERLOADS[operator.name](*args)

    def empty(self, shape: Sequence[int], dtype: str, like: Tensor) -> Tensor:
        return torch.empty(shape, dtype=_NAMES[dtype], device=like.device)

    def empty_channels_last(self, shape: Sequence[int], dtype: str, like: Tensor) -> Tensor:
        # No view: torch lets nobody change in place the view that an autograd function returns.
        return torch.empty(
            shape, dtype=_NAMES[dtype], device=like.device, memory_format=torch.channels_last
        )

    def from_numpy(self, x: np.ndarray, like: Tensor) -> Tensor:
        return torch.from_numpy(x).to(like.device)

    def to_numpy(self, x: Tensor) -> np.ndarray:
        return x.detach().resolve_neg().cpu().numpy()

    def dtype(self, x: Tensor) -> str:
        return _DTYPES.get(x.dtype) or str(x.dtype).removeprefix("torch.")

    def strides(self, x: Tensor) -> tuple[int, ...]:
        return x.stride()

    def concatenate(self, arrays: Sequence[Tensor], axis: int) -> Tensor:
        return torch.cat(list(arrays), axis)

    def full_like(self, x: Tensor, value: float) -> Tensor:
        return torch.full_like(x, value)

    def astype(self, x: Tensor, dtype: str) -> Tensor:
        return x.to(_NAMES[dtype])

    def describe(self, x: Tensor) -> Any:
        x = x.resolve_neg()  # of the imaginary part of a conjugate only a flag says the sign
        address, (dtype, size), shape = x.data_ptr(), _DESCRIBED[x.dtype], x.shape
        if address % size or (address == 0 and x.numel()):
            raise TypeError(
                "roiops: a tensor must have memory of its own, aligned to its element type; got "
                f"{dtype} of shape {tuple(shape)} at address {address:#x}"
            )
        # The tensor comes last: a temporary one must live as long as its address is used.
        return (address, dtype, shape, x.stride(), x)

    def execution(self) -> Any:
        return torch.get_num_threads()

    def unknown_size(self) -> Any:
        """A length that is known only at run time: a new symbol, in a fake kernel."""
        return torch.library.get_ctx().new_dynamic_size()


class TorchOnGpu(Torch):
    """Tensors on one GPU, which computes on the stream that is current there."""

    def __init__(self, device: int) -> None:
        self._device = device

    @property
    def core(self) -> Any:
        return _gpu.core(self._device)

    def describe(self, x: Tensor) -> Any:
        # The dispatcher looks at one tensor: another may lie on the host.
        if x.get_device() != self._device:
            raise TypeError(f"roiops: a tensor lies on {x.device}, others on cuda:{self._device}")
        return super().describe(x)

    def stream(self) -> int:
        return torch.cuda.current_stream(self._device).cuda_stream

    def bytes(self, count: int) -> Tensor:
        """Of torch's allocator: it gives them to nobody else before the stream has come so far."""
        return torch.empty(count, dtype=torch.uint8, device=f"cuda:{self._device}")

    def execution(self) -> Any:
        held: dict[int, Tensor] = {}  # as long as the call

        def hold(x: Tensor) -> int:
            held[x.data_ptr()] = x
            return x.data_ptr()

        def order(keys: int, rows: int, columns: int) -> int:
            numbers = held[keys].view(torch.int64)[: rows * columns].view(rows, columns)
            return hold(numbers.argsort(dim=1, stable=True))

        return self._device, self.stream(), lambda count: hold(self.bytes(count)), order


TORCH = Torch()
on_gpu = functools.cache(TorchOnGpu)


def run_on_gpu(op: _operators.Operator, device: int, args: tuple[Any, ...]) -> Any:
    with torch.cuda.device(device):
        return op.run(on_gpu(device), *args)


def _run_where_tensors_are(op: _operators.Operator, *args: Any) -> Any:
    return run_on_gpu(op, first_of(Tensor, args).get_device(), args)


_LIBRARY = torch.library.Library("roiops", "FRAGMENT")
_OVERLOADS: dict[str, Any] = {}
_DIRECT: dict[str, Callable[[tuple[Any, ...]], Any]] = {}


def _save_nothing(ctx: Any, inputs: Any, output: Any) -> None:
    pass


def _no_backward(ctx: Any, *grads: Any) -> None:
    raise AssertionError("never called: the outputs are marked as not differentiable")


def _register(op: _operators.Operator) -> None:
    _LIBRARY.define(op.name + op.schema)
    _LIBRARY.impl(op.name, functools.partial(op.run, TORCH), "CPU")
    _LIBRARY.impl(op.name, functools.partial(_run_where_tensors_are, op), "CUDA")
    qualified = f"roiops::{op.name}"
    fake = op.fake or op.allocate
    torch.library.register_fake(qualified, functools.partial(fake, TORCH), lib=_LIBRARY)
    torch.library.register_autograd(
        qualified,
        functools.partial(op.backward, TORCH) if op.backward else _no_backward,
        setup_context=op.save or (_save_nothing if op.backward else mark_not_differentiable),
        lib=_LIBRARY,
    )
    # The overload itself: looking it up by name in each call would cost as much as the kernel.
    _OVERLOADS[op.name] = getattr(torch.ops.roiops, op.name).default
    _DIRECT[op.name] = direct(TORCH, op, run_on_gpu)


for _op in _operators.OPERATORS.values():
    _register(_op)
