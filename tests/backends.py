"""The backends the operator tests run on: modules that have all the operators.

Another one joins by a line in BACKENDS. Its arrays may live elsewhere, so a test hands NumPy arrays
to the backend and gets NumPy arrays back.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Backend:
    """The operators of one module, called with NumPy arrays and answering in NumPy arrays."""

    name: str
    ops: ModuleType
    asarray: Callable[[np.ndarray], Any]
    to_numpy: Callable[[Any], np.ndarray]
    is_array: Callable[[Any], bool]

    def __call__(self, operator: str, *args: Any, **kwargs: Any) -> Any:
        """Run an operator. Arrays are converted wherever they stand in lists and tuples."""
        result = getattr(self.ops, operator)(
            *convert(args, is_numpy, self.asarray), **convert(kwargs, is_numpy, self.asarray)
        )
        return convert(result, self.is_array, self.to_numpy)


def is_numpy(value: Any) -> bool:
    return isinstance(value, np.ndarray)


def convert(value: Any, matches: Callable[[Any], bool], change: Callable[[Any], Any]) -> Any:
    """`value` with every array in its lists, tuples and dicts changed."""
    if matches(value):
        return change(value)
    if isinstance(value, dict):
        return {key: convert(item, matches, change) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(convert(item, matches, change) for item in value)
    return value


def flat(value: Any) -> list[Any]:
    """What is in lists, tuples and dicts, however nested."""
    if isinstance(value, dict):
        return flat(list(value.values()))
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in flat(item)]
    return [value]


def numpy_backend(name: str, module: str) -> Backend:
    return Backend(name, importlib.import_module(module), lambda a: a, lambda a: a, is_numpy)


# name: what makes the backend. "cpu" takes NumPy and torch arrays alike: NumPy here, torch in
# tests/ops/test_torch_*.py, which hold both to the same bits.
BACKENDS: dict[str, Callable[[], Backend]] = {
    "reference": lambda: numpy_backend("reference", "roiops.reference"),
    "cpu": lambda: numpy_backend("cpu", "roiops"),
}

# Public functions that are no operators: they say what this machine is.
ABOUT_THE_MACHINE = {"backends", "get_num_threads", "set_num_threads", "show_config"}

# Operators whose arguments are numbers only, and that are told what array to make.
MAKERS = {"cell_anchors", "grid_anchors"}
