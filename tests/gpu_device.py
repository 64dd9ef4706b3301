"""NumPy arrays as torch's tensors on a GPU and back, with their strides and every bit."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

import roiops

FAR_APART = 2**28  # bytes
WANTED = os.environ.get("ROIOPS_WANT_GPU") == "1"
"""Where tests shall fail, not be skipped, if the GPU does not answer."""


def available() -> bool:
    """Whether there is a GPU on which the kernels and torch run."""
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available() and "cuda" in roiops.backends()


def asarray(x: np.ndarray) -> Any:
    """A copy with the same strides, and with what lies between the elements unless it is much.
    (torch has no negative strides: such an array is made contiguous.)"""
    import torch

    if x.size == 0 or any(stride < 0 for stride in x.strides):
        x = np.ascontiguousarray(x)
    dtype = getattr(torch, x.dtype.name)
    if x.size == 0:
        return torch.empty(x.shape, dtype=dtype, device="cuda")
    low, high = np.lib.array_utils.byte_bounds(x)
    strides = [stride // x.itemsize for stride in x.strides]
    if high - low < FAR_APART:
        memory = torch.from_numpy(_bytes(x).copy()).cuda().view(dtype)
        return memory.as_strided(x.shape, strides)
    memory = torch.empty((high - low) // x.itemsize, dtype=dtype, device="cuda")
    return memory.as_strided(x.shape, strides).copy_(asarray(np.ascontiguousarray(x)))


def _bytes(x: np.ndarray) -> np.ndarray:
    """The memory from the first to the last element, where no stride is negative."""
    low, high = np.lib.array_utils.byte_bounds(x)
    first = np.lib.stride_tricks.as_strided(x, (1,), (x.itemsize,)).view(np.uint8)
    return np.lib.stride_tricks.as_strided(first, (high - low,), (1,))


def to_numpy(x: Any) -> np.ndarray:
    import torch

    x = x.detach().cpu()
    if x.dtype != torch.bfloat16:
        return x.numpy()
    import ml_dtypes

    return x.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
