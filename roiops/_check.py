"""Argument checks that several operators share. A message names operator and argument, says what
is expected and what was got."""

from __future__ import annotations

import operator as python_operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from roiops._arrays import Array, Namespace

FLOATING = ("float32", "float64")
MAX_OUTPUT_SIDE = 2**31 - 1
FEATURES = ("float16", "bfloat16", "float32", "float64")
INTEGERS = ("uint8", "int8", "int16", "int32", "int64")


def shape(op: str, name: str, expected: str, x: Array, ok: bool) -> None:
    """Raise ValueError unless ``ok``: ``name`` must have the shape described by ``expected``."""
    if not ok:
        raise ValueError(f"{op}: {name} must have shape {expected}; got {tuple(x.shape)}")


def floating(
    op: str, name: str, xp: Namespace, x: Array, expected: str = "float32 or float64"
) -> None:
    """Raise TypeError unless ``x`` is float32 or float64 (``expected``: what the caller may pass,
    where 16-bit arrays have been widened before)."""
    if xp.dtype(x) not in FLOATING:
        raise TypeError(f"{op}: {name} must be {expected}; got {xp.dtype(x)}")


def features(op: str, name: str, xp: Namespace, x: Array) -> None:
    """Raise TypeError unless ``x`` is of one of the four floating types."""
    if xp.dtype(x) not in FEATURES:
        raise TypeError(
            f"{op}: {name} must be {', '.join(FEATURES[:3])} or {FEATURES[3]}; got {xp.dtype(x)}"
        )


def numeric(
    op: str, name: str, xp: Namespace, x: Array, expected: str = "floating or integer"
) -> None:
    """Raise TypeError unless ``x`` is of a floating type or one of the signed integers or uint8."""
    if xp.dtype(x) not in (*FEATURES, *INTEGERS):
        raise TypeError(f"{op}: {name} must be {expected}; got {xp.dtype(x)}")


def promoted(xp: Namespace, x: Array) -> Array:
    """16-bit boxes and scores as float32, others as they are: 16 bits cannot hold a pixel
    coordinate, so nothing is computed in them."""
    return xp.astype(x, "float32") if xp.dtype(x) in FEATURES[:2] else x


def integer(op: str, name: str, xp: Namespace, x: Array) -> None:
    """Raise TypeError unless ``x`` is int64."""
    if xp.dtype(x) != "int64":
        raise TypeError(f"{op}: {name} must be int64; got {xp.dtype(x)}")


def same_dtype(op: str, name: str, xp: Namespace, x: Array, like_name: str, like: Array) -> None:
    if xp.dtype(x) != xp.dtype(like):
        raise TypeError(
            f"{op}: {name} must have the dtype of {like_name} ({xp.dtype(like)}); got {xp.dtype(x)}"
        )


def boxes(op: str, name: str, xp: Namespace, x: Array) -> None:
    """Raise unless ``x`` is a floating (N, 4) array."""
    shape(op, name, "(N, 4) [x1, y1, x2, y2]", x, len(x.shape) == 2 and x.shape[1] == 4)
    floating(op, name, xp, x)


def choice(op: str, name: str, value: str, choices: Sequence[str]) -> None:
    if not isinstance(value, str) or value not in choices:
        expected = " or ".join(repr(c) for c in choices)
        raise ValueError(f"{op}: {name} must be {expected}; got {value!r}")


def number(op: str, name: str, value: Any, low: float | None = None) -> float:
    """A finite float, greater than ``low`` if given."""
    try:
        # A bool in a number's place is a misplaced flag; a string would be parsed by float().
        if isinstance(value, (bool, np.bool_, str, bytes)):
            raise TypeError
        result = float(value)
    except OverflowError:
        result = float("inf")
    except (TypeError, ValueError):
        raise TypeError(f"{op}: {name} must be a number; got {value!r}") from None
    if not abs(result) < float("inf"):
        raise ValueError(f"{op}: {name} must be finite; got {value!r}")
    if low is not None and not result > low:
        raise ValueError(f"{op}: {name} must be greater than {low:g}; got {value!r}")
    return result


def whole(op: str, name: str, value: Any, low: int | None = None, high: int | None = None) -> int:
    """An int, from ``low`` to ``high`` where given. Symbolic sizes pass as they are."""
    if isinstance(value, bool):
        raise TypeError(f"{op}: {name} must be an int; got {value!r}")
    if type(value).__name__ != "SymInt":
        try:
            value = python_operator.index(value)
        except TypeError:
            raise TypeError(f"{op}: {name} must be an int; got {value!r}") from None
    if low is not None and value < low:
        raise ValueError(f"{op}: {name} must be at least {low}; got {value}")
    if high is not None and value > high:
        raise ValueError(f"{op}: {name} must be at most {high}; got {value}")
    return value


def flag(op: str, name: str, value: Any) -> bool:
    """True or False: a string or a number in its place is a misplaced argument."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{op}: {name} must be True or False; got {value!r}")
    return bool(value)


def sequence(op: str, name: str, value: Any, expected: str) -> Sequence[Any]:
    """A list or tuple of what ``expected`` says (an array of numbers will do)."""
    ndim = getattr(value, "ndim", 0)  # no int of a class, nor of a torch.fx.Proxy
    if not isinstance(value, (list, tuple)) and not (isinstance(ndim, int) and ndim > 0):
        raise TypeError(f"{op}: {name} must be a list of {expected}; got {value!r}")
    return value


def size_pair(op: str, name: str, value: Any) -> tuple[int, int]:
    """(height, width) from an int or a pair, both at least 1."""
    if isinstance(value, (list, tuple)):
        if len(value) != 2:
            raise ValueError(
                f"{op}: {name} must be an int or a pair (height, width); got {value!r}"
            )
        height, width = value
    else:
        height = width = value
    return whole(op, name, height, 1, MAX_OUTPUT_SIDE), whole(op, name, width, 1, MAX_OUTPUT_SIDE)
