"""Feature pyramid network (Lin et al. 2017): P2..P5 of one width, and subsampled levels above."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from detector.config import FpnConfig


class FPN(nn.Module):
    """[C2..C5] → [P2..P5, P6, …], all `config.channels` wide; P_k has stride 2**k."""

    def __init__(self, config: FpnConfig, in_channels: Sequence[int]) -> None:
        super().__init__()
        self.extra_levels = config.extra_levels
        self.stages = range(2, 2 + len(in_channels))
        for stage, channels in zip(self.stages, in_channels, strict=True):
            self.add_module(f"lateral{stage}", _conv(channels, config.channels, 1))
            self.add_module(f"output{stage}", _conv(config.channels, config.channels, 3))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                nn.init.zeros_(module.bias)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        pyramid: list[Tensor] = []
        top: Tensor | None = None
        for stage, feature in zip(reversed(self.stages), reversed(features), strict=True):
            lateral = self.get_submodule(f"lateral{stage}")(feature)
            if top is not None:
                lateral = lateral + F.interpolate(top, size=lateral.shape[-2:], mode="nearest")
            top = lateral
            pyramid.insert(0, self.get_submodule(f"output{stage}")(top))
        for _ in range(self.extra_levels):
            pyramid.append(F.max_pool2d(pyramid[-1], kernel_size=1, stride=2))
        return pyramid


def _conv(in_channels: int, out_channels: int, kernel: int) -> nn.Module:
    """A convolution of its own name in the keys of the weights: norms can join it there."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)
    return nn.Sequential(OrderedDict(conv=conv))
