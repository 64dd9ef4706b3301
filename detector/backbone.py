"""Residual networks (He et al. 2016; ResNeXt: Xie et al. 2017) and the pyramid on top of them.

The names of the parameters say stage, block and layer: `res3.0.conv2`, `res3.0.norm2`.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detector.config import BackboneConfig, FpnConfig


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


def he_normal(module: nn.Module) -> None:
    """Initialises every convolution in `module` as He et al. (2015) do, biases with 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def conv_block(
    in_channels: int, out_channels: int, kernel: int, norm: str | None, *, relu: bool
) -> nn.Sequential:
    """Convolution, norm, ReLU, the last two where asked for; a norm replaces the bias."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=norm is None)
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv=conv)
    if norm is not None:
        layers["norm"] = make_norm(norm, out_channels)
    if relu:
        layers["relu"] = nn.ReLU()
    return nn.Sequential(layers)


class ConvNorm(nn.Module):
    """The projection of a shortcut: convolution, norm, no activation."""

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


class PoolStem(nn.Module):
    """7x7 convolution of stride 2, 3x3 max pooling of stride 2."""

    def __init__(self, in_channels: int, channels: int, norm: str) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 7, stride=2, padding=3, bias=False)
        self.norm = make_norm(norm, channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(F.relu(self.norm(self.conv(x))), 3, stride=2, padding=1)


class ConvsStem(nn.Module):
    """Two 3x3 convolutions of stride 2: cheaper than a wide 7x7 at full resolution."""

    def __init__(self, in_channels: int, channels: tuple[int, ...], norm: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels[0], 3, stride=2, padding=1, bias=False)
        self.norm1 = make_norm(norm, channels[0])
        self.conv2 = nn.Conv2d(channels[0], channels[1], 3, stride=2, padding=1, bias=False)
        self.norm2 = make_norm(norm, channels[1])

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(x)))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, in_channels: int, channels: int, stride: int, norm: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.norm1 = make_norm(norm, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = make_norm(norm, channels)
        self.shortcut = _shortcut(in_channels, channels, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return F.relu(y + self.shortcut(x))


class Bottleneck(nn.Module):
    """1x1 to the inner width, 3x3 (of ResNeXt: in groups), 1x1 back, beside a shortcut."""

    def __init__(
        self, in_channels: int, channels: int, inner: int, stride: int, config: BackboneConfig
    ) -> None:
        super().__init__()
        norm = config.norm
        first, second = (stride, 1) if config.stride_in == "1x1" else (1, stride)
        self.conv1 = nn.Conv2d(in_channels, inner, 1, first, bias=False)
        self.norm1 = make_norm(norm, inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, second, padding=1, groups=config.groups, bias=False)
        self.norm2 = make_norm(norm, inner)
        self.conv3 = nn.Conv2d(inner, channels, 1, bias=False)
        self.norm3 = make_norm(norm, channels)
        self.shortcut = _shortcut(in_channels, channels, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        y = F.relu(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(y))
        return F.relu(y + self.shortcut(x))


class NonLocal(nn.Module):
    """Adds to each position what all positions hold, weighted by likeness (Wang et al. 2018).

    Embedded Gaussian, of half the width; what is looked at is pooled to half the resolution. Its
    last layer starts at 0, so that it does nothing to pretrained features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Conv2d(channels, channels // 2, 1) for _ in "qkv")
        self.out = nn.Conv2d(channels // 2, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.max_pool2d(x, 2, ceil_mode=True)
        q, k, v = (
            layer(y).flatten(2).transpose(1, 2)
            for layer, y in ((self.query, x), (self.key, pooled), (self.value, pooled))
        )
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        return x + self.out(attended.unflatten(2, x.shape[2:]))


class ResNet(nn.Module):
    """images (N, in_channels, H, W) → [C2, C3, C4, C5], C_k of stride 2**k.

    `last` 4: without C5; res5 is there for the box head to be called on regions.
    """

    def __init__(self, config: BackboneConfig, in_channels: int, last: int = 5) -> None:
        super().__init__()
        self.last = last
        stem = config.stem_channels
        self.stem: nn.Module = (
            PoolStem(in_channels, stem[0], config.norm)
            if config.stem == "pool"
            else ConvsStem(in_channels, stem, config.norm)
        )
        self.out_channels = config.channels
        width = stem[-1]
        for stage, (count, channels) in enumerate(
            zip(config.blocks, config.channels, strict=True), start=2
        ):
            blocks = []
            for index in range(count):
                first = (1, 2, 2, config.res5_stride)[stage - 2]
                stride = first if index == 0 else 1
                if config.block == "basic":
                    block: nn.Module = BasicBlock(width, channels, stride, config.norm)
                else:
                    inner = config.inner_channels[stage - 2]
                    block = Bottleneck(width, channels, inner, stride, config)
                blocks.append(block)
                width = channels
            self.add_module(f"res{stage}", nn.Sequential(*blocks))
        self.non_local = NonLocal(config.channels[2]) if config.non_local else nn.Identity()
        he_normal(self)
        if config.non_local:
            nn.init.zeros_(self.non_local.out.weight)
        self._frozen = [self.stem, self.res2, self.res3, self.res4, self.res5]
        self._frozen = self._frozen[: config.frozen_stages]
        for module in self._frozen:
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> ResNet:
        """Frozen stages stay in evaluation mode: their batch statistics must not drift."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.stem(images)
        features = []
        for stage in (self.res2, self.res3, self.res4, self.res5)[: self.last - 1]:
            for index, block in enumerate(stage):
                if stage is self.res4 and index == len(stage) - 1:
                    x = self.non_local(x)
                x = block(x)
            features.append(x)
        return features


def _shortcut(in_channels: int, channels: int, stride: int, norm: str) -> nn.Module:
    """Identity where shapes agree, else a 1x1 projection."""
    if stride == 1 and in_channels == channels:
        return nn.Identity()
    return ConvNorm(in_channels, channels, 1, stride, norm)


class FPN(nn.Module):
    """[C2..C5] → [P2..P5, P6, …], all `config.channels` wide; P_k has stride 2**k.

    Feature pyramid (Lin et al. 2017); the levels above P5 are its subsamples.
    """

    def __init__(self, config: FpnConfig, in_channels: Sequence[int]) -> None:
        super().__init__()
        self.extra_levels = config.extra_levels
        self.stages = range(2, 2 + len(in_channels))
        for stage, channels in zip(self.stages, in_channels, strict=True):
            lateral = conv_block(channels, config.channels, 1, config.norm, relu=False)
            output = conv_block(config.channels, config.channels, 3, config.norm, relu=False)
            self.add_module(f"lateral{stage}", lateral)
            self.add_module(f"output{stage}", output)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                if module.bias is not None:
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
