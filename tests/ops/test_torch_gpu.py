"""Tensors of a GPU: kernels get torch's memory, and its order of keys. The tensors are the host's
here, the GPU is the emulator."""

import numpy as np
import pytest
from backends import MAKERS, convert, emulated_backend, emulated_device_of, flat, is_numpy
from comparison import assert_same_bits
from emulated_device import available

import roiops
from roiops.testing import CASES, Case

torch = pytest.importorskip("torch")

from roiops import _operators, _torch  # noqa: E402


class TorchOnEmulator(_torch.TorchOnGpu):
    """Tensors of the host, which the emulated kernels take as those of a device."""

    core = property(lambda self: emulated_device_of("plain").core)

    def describe(self, x: torch.Tensor):
        return _torch.TORCH.describe(x)

    def stream(self) -> int:
        return 0

    def bytes(self, count: int) -> torch.Tensor:
        return torch.full((count,), 0xAA, dtype=torch.uint8)


@pytest.fixture
def on_emulator(monkeypatch) -> None:
    """Every call on tensors of the host is one on a GPU."""
    place = TorchOnEmulator(0)

    def call(operator: _operators.Operator, *args):
        return operator.run(place, *args)

    monkeypatch.setattr(_torch.TORCH, "call", call)


@pytest.mark.skipif(not available(), reason="without the kernels' sources")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.usefixtures("on_emulator")
def test_tensors_are_computed_on_as_arrays_are(case: Case) -> None:
    arguments = case.arguments(np.random.default_rng(0), False)
    like = {"like": np.empty(0, np.float32)} if case.operator in MAKERS else {}
    options = case.options | like
    expected = emulated_backend("plain")(case.operator, *arguments, **options)
    tensors = convert((arguments, options), is_numpy, torch.from_numpy)
    got = getattr(roiops, case.operator)(*tensors[0], **tensors[1])
    for g, e in zip(flat(got), flat(expected), strict=True):
        if isinstance(g, torch.Tensor):
            assert_same_bits(g.numpy(), e)
        else:
            assert g == e
