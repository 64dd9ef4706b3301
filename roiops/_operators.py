"""One list of operators, from which torch's registration is made.

An operator is two functions that work in any namespace: ``allocate`` checks the arguments and
returns uninitialised outputs (torch's fake kernel is this alone), ``compute`` fills them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from roiops._arrays import Namespace

OPERATORS: dict[str, Operator] = {}
"""All of them, by name: an operator joins when it is made."""


@dataclass(frozen=True)
class Operator:
    """``schema`` is torch's, without the name.

    ``save(ctx, inputs, output)`` and ``backward(xp, ctx, *grads)`` are torch.library's autograd
    pair (nothing is saved without the first); without the second, outputs carry no gradient.
    ``compute`` returns nothing, or the outputs where their size is known only afterwards; then
    ``fake(torch, *args)`` gives the symbolic outputs.
    """

    name: str
    schema: str
    allocate: Callable[..., Any]
    compute: Callable[..., Any]
    save: Callable[..., None] | None = None
    backward: Callable[..., Any] | None = None
    fake: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        OPERATORS[self.name] = self

    def run(self, xp: Namespace, *args: Any) -> Any:
        outputs = self.allocate(xp, *args)
        result = self.compute(xp, outputs, *args)
        return outputs if result is None else result


def once_only(name: Callable[[Any], str] | str) -> Callable[..., Any]:
    """The ``backward`` of an operator whose own is a first derivative, and has none."""

    def backward(xp: Namespace, ctx: Any, *grads: Any) -> Any:
        operator = name if isinstance(name, str) else name(ctx)
        raise RuntimeError(f"{operator}: the second derivative is not implemented")

    return backward
