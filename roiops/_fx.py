"""torch.fx: in a symbolically traced graph, a public function is one node."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def leaf(function: Function) -> Function:
    """``function``, recorded as a whole where it is given a ``torch.fx.Proxy``.

    No argument check lets a proxy pass, or records anything of it. So it is looked for only when
    one has failed, and an ordinary call pays no more than this frame.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception:
            tracer = _tracer((*args, *kwargs.values()))
            if tracer is None:
                raise
            return tracer.create_proxy("call_function", call, args, kwargs)

    return call  # type: ignore[return-value]


def _tracer(values: Any) -> Any:
    """That of a proxy among ``values``, however nested; None without one."""
    fx = sys.modules.get("torch.fx")
    if fx is None:
        return None
    for value in values:
        if isinstance(value, fx.Proxy):
            return value.tracer
        if isinstance(value, (list, tuple)) and (tracer := _tracer(value)) is not None:
            return tracer
    return None
