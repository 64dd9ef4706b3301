"""One case on one setting: made, verified, measured."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from benchmarks import peers
from benchmarks.gpu import Events
from benchmarks.measure import Comparison, compare, repeated
from roiops.testing import Case


@dataclass(frozen=True)
class Setting:
    dtype: str = "float32"
    """Of feature maps and their gradients; boxes are float32 always."""
    layout: str = "NCHW"
    threads: int = 1
    device: str = "cpu"


@dataclass(frozen=True)
class Row:
    case: str
    operator: str
    setting: Setting
    peer: str | None
    times: Comparison
    nbytes: int
    """Of the arguments that are read, and of the results."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def tensors(value: Any, setting: Setting) -> Any:
    """The arguments of a case as tensors; four-dimensional ones are feature maps."""
    if isinstance(value, np.ndarray):
        tensor = torch.from_numpy(value).to(setting.device)
        if tensor.dim() != 4:
            return tensor
        last = setting.layout == "channels_last"
        return tensor.to(getattr(torch, setting.dtype)).contiguous(
            memory_format=torch.channels_last if last else torch.contiguous_format
        )
    if isinstance(value, (list, tuple)):
        return type(value)(tensors(item, setting) for item in value)
    return value


def has_maps(case: Case) -> bool:
    """Whether a case pools feature maps, to which settings matter."""
    return case.operator.startswith(("roi_", "multiscale_roi_", "ps_roi_"))


def arrays(value: Any) -> list[torch.Tensor]:
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in arrays(item)]
    return [value] if isinstance(value, torch.Tensor) else []


def arguments_read(case: Case, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """The gradient of a mean does not look at the maps, which come second."""
    pools = case.operator.endswith("_backward") and has_maps(case)
    maximum = case.operator == "roi_pool_backward" or case.options.get("reduction") == "max"
    return arguments if not pools or maximum else (arguments[0], *arguments[2:])


def measure(case: Case, setting: Setting, seconds: float) -> Row:
    torch.set_num_threads(setting.threads)
    arguments = tensors(case.arguments(np.random.default_rng(0), True), setting)
    with torch.device(setting.device):  # where calls make what they are not given
        ours = peers.ours(case.operator)(*arguments, **case.options)
    mine = ours()
    theirs, name = None, None
    if peer := peers.PEERS.get(case.operator):
        try:
            with torch.device(setting.device):
                theirs = peer.prepare(*arguments, **case.options)
            result = theirs()
        except (peers.NotOffered, NotImplementedError, RuntimeError) as reason:
            theirs = None
            if isinstance(reason, RuntimeError) and "not implemented" not in str(reason):
                raise
        else:
            name = peer.name
            if not peer.agree(mine, result):
                raise AssertionError(f"{case.name}: the results of roiops and {name} differ")
            del result
    nbytes = sum(x.nbytes for x in arrays(arguments_read(case, arguments)) + arrays(mine))
    del mine
    on_gpu = setting.device != "cpu"
    clock = Events() if on_gpu else repeated
    times = compare(ours, theirs, seconds, on_gpu or setting.threads > 1, clock)
    return Row(case.name, case.operator, setting, name, times, nbytes)
