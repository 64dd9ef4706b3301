"""How an operator is called on tensors outside a compiler.

torch's dispatcher costs more than the smallest kernel: it converts the arguments of an operator
written in Python twice. So a call that nobody watches runs the operator at once; one that asks for
gradients, or happens under ``torch.func``, goes through an autograd function of its own (what
``torch.library`` makes of an operator's backward is refused by ``torch.func``); and whatever else
may be listening (a compiler, a mode, a profiler, a subclass) is served by the dispatcher.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import _C, Tensor
from torch.autograd import forward_ad

from roiops._arrays import Namespace
from roiops._operators import Operator

_PLAIN = (Tensor, torch.nn.Parameter)


# What is asked below is not public: in a torch that lacks any of it, every call takes the
# dispatcher.
_KNOWN = hasattr(forward_ad, "_current_level") and all(
    hasattr(module, name)
    for module, name in (
        (_C, "_are_functorch_transforms_active"),
        (_C, "_get_tracing_state"),
        (_C, "_is_fwd_grad_enabled"),
        (_C, "_len_torch_dispatch_stack"),
        (_C, "_len_torch_function_stack"),
        (_C._autograd, "_profiler_enabled"),
    )
)


def _watched() -> bool:
    """Whether anybody wants to see the dispatcher's calls."""
    return bool(
        _C._len_torch_dispatch_stack()
        or _C._len_torch_function_stack()
        or _C._get_tracing_state()
        or _C._autograd._profiler_enabled()
    )


def direct(
    xp: Namespace, op: Operator, run_on_gpu: Callable[[Operator, int, tuple[Any, ...]], Any]
) -> Callable[..., Any]:
    """The way of ``op`` around the dispatcher: called with its arguments, it gives the results, or
    NotImplemented where the dispatcher must be asked."""
    if not _KNOWN:
        return lambda args: NotImplemented
    function = _function(xp, op)

    def call(args: tuple[Any, ...]) -> Any:
        # Before anything else: the dispatcher drops tangents, and has no rules for torch.func. The
        # call inside the function comes back here, for whoever watches.
        if _forward_mode() or _C._are_functorch_transforms_active():
            return function(args)
        if _watched():
            return NotImplemented
        needs_grad, device = False, -1
        for arg in args:
            for x in arg if type(arg) is list else (arg,):
                if isinstance(x, Tensor):
                    if type(x) not in _PLAIN:
                        return NotImplemented
                    if not x.is_cpu:
                        if not x.is_cuda:
                            return NotImplemented
                        device = x.get_device()
                    needs_grad = needs_grad or x.requires_grad
        if needs_grad and op.backward is not None and torch.is_grad_enabled():
            return function(args)
        return op.run(xp, *args) if device < 0 else run_on_gpu(op, device, args)

    return call


def _forward_mode() -> bool:
    """Whether tensors may carry tangents; not so inside an autograd function."""
    return forward_ad._current_level >= 0 and _C._is_fwd_grad_enabled()


def _function(xp: Namespace, op: Operator) -> Callable[[tuple[Any, ...]], Any]:
    """``op`` as an autograd function, which takes the tensors of its arguments one by one."""
    several = op.schema.endswith("Tensor[]")

    class Call(torch.autograd.Function):
        @staticmethod
        def forward(structure: _Structure, *tensors: Tensor) -> Any:
            results = xp.call(op, *structure.restore(tensors))
            return tuple(results) if several else results

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            structure, *tensors = inputs
            ctx.structure = structure
            if op.backward is None:
                mark_not_differentiable(ctx, inputs, output)
                ctx.count = len(output) if isinstance(output, tuple) else None
            elif op.save is not None:
                op.save(ctx, structure.restore(tensors), output)

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Any:
            assert op.backward is not None
            view = _Context(ctx)
            results = (
                op.backward(xp, view, list(grads)) if several else op.backward(xp, view, *grads)
            )
            return None, *ctx.structure.flatten(results)

        @staticmethod
        def jvp(ctx: Any, *tangents: Any) -> Any:
            if op.backward is None:  # a decision has no tangent
                return None if ctx.count is None else (None,) * ctx.count
            raise NotImplementedError(
                f"torch.ops.roiops.{op.name}: forward-mode differentiation is not implemented; use "
                "reverse mode (torch.func.vjp, jacrev, torch.autograd.grad)"
            )

        @staticmethod
        def vmap(info: Any, in_dims: tuple[Any, ...], structure: _Structure, *tensors: Any) -> Any:
            """One call after the other: there is nothing to gain from a larger one."""
            if info.batch_size == 0:
                raise RuntimeError(f"torch.ops.roiops.{op.name}: torch.vmap needs a sample; got 0")
            results = []
            for i in range(info.batch_size):
                one = [
                    x if dim is None else x.select(dim, i)
                    for x, dim in zip(tensors, in_dims[1:], strict=True)
                ]
                results.append(xp.call(op, *structure.restore(one)))
            return _stack(op.name, results)

    Call.__name__ = Call.__qualname__ = op.name  # names the nodes of a graph

    def apply(args: tuple[Any, ...]) -> Any:
        structure, tensors = _Structure.of(args)
        results = Call.apply(structure, *tensors)
        return list(results) if several else results

    return apply


def mark_not_differentiable(ctx: Any, inputs: Any, output: Any) -> None:
    """What an operator without a backward does in place of saving: its results are decisions."""
    ctx.mark_non_differentiable(*(output if isinstance(output, (list, tuple)) else (output,)))


class _Structure:
    """Where the tensors stand in an operator's arguments."""

    def __init__(self, args: tuple[Any, ...], counts: list[int]) -> None:
        self.args = args  # without the tensors
        self.counts = counts  # of tensors: 0 for another value, -n for a list of n

    @classmethod
    def of(cls, args: tuple[Any, ...]) -> tuple[_Structure, list[Tensor]]:
        others: list[Any] = []
        counts: list[int] = []
        tensors: list[Tensor] = []
        for arg in args:
            if isinstance(arg, Tensor):
                tensors.append(arg)
                others.append(None)
                counts.append(1)
            elif type(arg) is list and arg and isinstance(arg[0], Tensor):
                tensors.extend(arg)
                others.append(None)
                counts.append(-len(arg))
            else:
                others.append(arg)
                counts.append(0)
        return cls(tuple(others), counts), tensors

    def restore(self, flat: Any) -> tuple[Any, ...]:
        """The arguments, or what belongs to them, from one value per tensor."""
        values = iter(flat)
        return tuple(
            other
            if count == 0
            else next(values)
            if count == 1
            else [next(values) for _ in range(-count)]
            for other, count in zip(self.args, self.counts, strict=True)
        )

    def flatten(self, results: Any) -> list[Any]:
        """One value per tensor, from one per argument."""
        flat: list[Any] = []
        for result, count in zip(results, self.counts, strict=True):
            if count == 1:
                flat.append(result)
            elif count < 0:
                flat.extend(result)
        return flat


class _Context:
    """An autograd context as ``Operator.backward`` knows it, which speaks of whole arguments."""

    def __init__(self, ctx: Any) -> None:
        self._ctx = ctx

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)

    @property
    def needs_input_grad(self) -> tuple[Any, ...]:
        structure = self._ctx.structure
        return _Structure((False,) * len(structure.args), structure.counts).restore(
            self._ctx.needs_input_grad[1:]
        )


def _stack(op: str, results: list[Any]) -> Any:
    """Results of single calls as one, with a new first dimension."""
    if isinstance(results[0], (list, tuple)):
        stacked = [_stack(op, list(members))[0] for members in zip(*results, strict=True)]
        return tuple(stacked), (0,) * len(stacked)
    if any(r.shape != results[0].shape for r in results):
        raise RuntimeError(
            f"torch.ops.roiops.{op}: torch.vmap needs results of one shape; got "
            f"{', '.join(str(tuple(r.shape)) for r in results)} (padded_nms has a fixed one)"
        )
    return torch.stack(results), 0
