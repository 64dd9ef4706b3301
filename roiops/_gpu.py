"""The compiled module of CUDA kernels: loaded at the first call on a GPU, or the reason why not."""

from __future__ import annotations

import functools
import importlib
from typing import Any


def load() -> Any:
    """``roiops._cuda``. Raises RuntimeError where this build has none."""
    try:
        return importlib.import_module("roiops._cuda")
    except ModuleNotFoundError:
        raise RuntimeError(
            "roiops: this build has no CUDA kernels; build it where nvcc is on the PATH: "
            "ROIOPS_CUDA=ON pip install ..."
        ) from None
    except ImportError as error:
        raise RuntimeError(f"roiops: the CUDA kernels cannot be loaded: {error}") from error


@functools.cache
def core(device: int) -> Any:
    """The module, once it can run on the device of this number. Raises RuntimeError, saying why it
    cannot."""
    module = load()
    reason = obstacle(module, device)
    if reason:
        raise RuntimeError(f"roiops: the CUDA kernels cannot run: {reason}")
    return module


def obstacle(module: Any, device: int) -> str | None:
    """Why the module's kernels cannot run on a device; None if they can."""
    driver, runtime, architecture, runnable = module.look_at(device)
    if driver == 0:
        return "there is no NVIDIA driver"
    if driver // 1000 < runtime // 1000:  # within a major version any driver will do
        return f"the driver is of CUDA {_version(driver)}; CUDA {runtime // 1000}.0 is needed"
    if architecture == 0:
        return f"there is no CUDA device {device}"
    if not runnable:
        return (
            f"device {device} has architecture {architecture}, and this build has kernels for "
            f"{module.architectures}"
        )
    return None


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"
