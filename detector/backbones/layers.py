"""A convolution with its normalisation, the brick of backbone, pyramid and heads."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class FrozenBatchNorm(nn.Module):
    """Batch norm as a fixed affine map: statistics and scale come with pretrained weights.

    Small batches of large images estimate statistics badly (He et al. 2017 froze them too).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.eps = 1e-5
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * scale.reshape(1, -1, 1, 1) + shift.reshape(1, -1, 1, 1)


def make_norm(kind: str, channels: int) -> nn.Module:
    """`kind` as in the configuration: bn, frozen_bn or gn."""
    if kind == "bn":
        return nn.BatchNorm2d(channels)
    if kind == "frozen_bn":
        return FrozenBatchNorm(channels)
    # Wu & He 2018 use 32 groups; narrow layers take the largest number that divides them.
    return nn.GroupNorm(math.gcd(32, channels), channels)


class Conv(nn.Module):
    """Convolution with bias, "same" padding; the wrapper gives it its place in the key names."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class ConvNorm(nn.Module):
    """Convolution without bias (the norm has one), then the norm; no activation."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int, norm: str
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False
        )
        self.norm = make_norm(norm, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))
