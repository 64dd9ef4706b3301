"""Argument checks that several operators share. A message names operator and argument, says what
is expected and what was got."""

from __future__ import annotations

import operator as python_operator
from collections.abc import Sequence
from typing import Any

from roiops._arrays import Array, Namespace

FLOATING = ("float32", "float64")
FEATURES = ("float16", "bfloat16", "float32", "float64")


def shape(op: str, name: str, expected: str, x: Array, ok: bool) -> None:
    """Raise ValueError unless ``ok``: ``name`` must have the shape described by ``expected``."""
    if not ok:
        raise ValueError(f"{op}: {name} must have shape {expected}; got {tuple(x.shape)}")


def floating(op: str, name: str, xp: Namespace, x: Array) -> None:
    """Raise TypeError unless ``x`` is float32 or float64."""
    if xp.dtype(x) not in FLOATING:
        raise TypeError(f"{op}: {name} must be float32 or float64; got {xp.dtype(x)}")


def features(op: str, name: str, xp: Namespace, x: Array) -> None:
    """Raise TypeError unless ``x`` is of one of the four floating types."""
    if xp.dtype(x) not in FEATURES:
        raise TypeError(
            f"{op}: {name} must be {', '.join(FEATURES[:3])} or {FEATURES[3]}; got {xp.dtype(x)}"
        )


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
    if value not in choices:
        expected = " or ".join(repr(c) for c in choices)
        raise ValueError(f"{op}: {name} must be {expected}; got {value!r}")


def number(op: str, name: str, value: Any, low: float | None = None) -> float:
    """A finite float, greater than ``low`` if given."""
    try:
        result = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{op}: {name} must be a number; got {value!r}") from None
    if not abs(result) < float("inf"):
        raise ValueError(f"{op}: {name} must be finite; got {value!r}")
    if low is not None and not result > low:
        raise ValueError(f"{op}: {name} must be greater than {low:g}; got {value!r}")
    return result


def whole(op: str, name: str, value: Any, low: int | None = None) -> int:
    """An int, at least ``low`` if given. Symbolic sizes pass as they are."""
    if isinstance(value, bool):
        raise TypeError(f"{op}: {name} must be an int; got {value!r}")
    if type(value).__name__ != "SymInt":
        try:
            value = python_operator.index(value)
        except TypeError:
            raise TypeError(f"{op}: {name} must be an int; got {value!r}") from None
    if low is not None and value < low:
        raise ValueError(f"{op}: {name} must be at least {low}; got {value}")
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
    return whole(op, name, height, 1), whole(op, name, width, 1)
