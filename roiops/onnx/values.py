"""What the translations share: numbers and columns in a graph that is being written.

The exporter calls a translation with a ``Value`` for each tensor and each size that is known only
at run time, and with plain numbers for the rest. It knows the type of arguments, not that of
intermediate values: a number that meets one of these must be given its type.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import onnx_ir as ir
from onnxscript import opset18

Value: TypeAlias = Any
"""An ``onnx_ir.Value``, with arithmetic (torch's exporter adds it)."""
Size: TypeAlias = Any
"""An int, or a Value where it is known only at run time."""

op: Any = opset18  # its annotations are for arrays, not for a graph
FLOAT, DOUBLE, INT64 = ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.INT64


def constants(dtype: ir.DataType) -> Callable[[Any], Value]:
    """As ``dtype.type`` of NumPy, for a graph: numbers of one type."""
    return lambda numbers: op.Constant(value=ir.tensor(np.asarray(numbers, dtype.numpy())))


def columns(boxes: Value) -> Value:
    """x1, y1, x2, y2 of boxes (..., 4), each (..., 1)."""
    return op.Split(boxes, num_outputs=4, axis=-1)


def all_of(first: Value, *others: Value) -> Value:
    """Where all of these conditions hold."""
    for condition in others:
        first = op.And(first, condition)
    return first


def nonzero(condition: Value) -> Value:
    """The indices (M,) where a condition (N,) holds, ascending."""
    return op.Squeeze(op.NonZero(condition), [0])


def static(operator: str, name: str, size: Size) -> int:
    """A size that ONNX wants as an attribute, or that shapes the graph."""
    if not isinstance(size, int):
        raise NotImplementedError(
            f"{operator}: {name} must be known at export to ONNX; got a size known at run time"
        )
    return size
