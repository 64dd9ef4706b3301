"""The backends the operator tests run on: modules that have all the operators.

Another one joins by a line in BACKENDS. Its arrays may live elsewhere, so a test hands NumPy arrays
to the backend and gets NumPy arrays back.
"""

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import emulated_device
import gpu_device
import numpy as np
from emulated_device import EmulatedDevice

import roiops
from roiops import _arrays


@dataclass(frozen=True)
class Backend:
    """The operators of one module, called with NumPy arrays and answering in NumPy arrays."""

    name: str
    ops: ModuleType
    asarray: Callable[[np.ndarray], Any]
    to_numpy: Callable[[Any], np.ndarray]
    is_array: Callable[[Any], bool]

    findings: Callable[[], str] = str
    """What the machine found wrong with the operators' accesses since it was asked last."""

    def __call__(self, operator: str, *args: Any, **kwargs: Any) -> Any:
        """Run an operator. Arrays are converted wherever they stand in lists and tuples."""
        if operator in MAKERS:
            kwargs.setdefault("like", np.empty(0, np.float32))
        try:
            result = getattr(self.ops, operator)(
                *convert(args, is_numpy, self.asarray), **convert(kwargs, is_numpy, self.asarray)
            )
        finally:
            found = self.findings()
            assert not found, found
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


@functools.cache
def emulated_device_of(kind: str) -> EmulatedDevice:
    return EmulatedDevice(kind)


def emulated_backend(kind: str) -> Backend:
    """The CUDA kernels, run by the emulator; with "hooks" it sees every access."""
    device = emulated_device_of(kind)
    _arrays.NAMESPACES[device.library.ndarray] = device
    return Backend(
        "emulated", roiops, device.library.asarray, device.to_numpy,
        lambda x: isinstance(x, device.library.ndarray), device.findings,
    )  # fmt: skip


def gpu_backend() -> Backend:
    """The CUDA kernels, on tensors of a GPU."""
    import torch

    return Backend(
        "cuda", roiops, gpu_device.asarray, gpu_device.to_numpy,
        lambda x: isinstance(x, torch.Tensor),
    )  # fmt: skip


# name: what makes the backend. "cpu" takes NumPy and torch arrays alike: NumPy here, torch in
# tests/ops/test_torch_*.py, which hold both to the same bits.
BACKENDS: dict[str, Callable[[], Backend]] = {
    "reference": lambda: numpy_backend("reference", "roiops.reference"),
    "cpu": lambda: numpy_backend("cpu", "roiops"),
    "emulated": lambda: emulated_backend("plain"),
    "cuda": gpu_backend,
}


def backends() -> list[str]:
    """Those that run here."""
    usable = {"emulated": emulated_device.available(), "cuda": gpu_device.available()}
    return [name for name in BACKENDS if usable.get(name, True)]


# Public functions that are no operators: they say what this machine is.
ABOUT_THE_MACHINE = {"backends", "get_num_threads", "set_num_threads", "show_config"}

# Operators whose arguments are numbers only, and that are told what array to make.
MAKERS = {"cell_anchors", "grid_anchors"}
