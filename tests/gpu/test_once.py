"""Every operator once, small, on a GPU; on the emulator where there is none. Short enough to run
under a sanitizer or a profiler, one kernel after the other."""

import numpy as np
import pytest
from backends import BACKENDS, MAKERS, Backend, flat
from emulated_device import available as has_sources
from gpu_device import WANTED
from gpu_device import available as has_gpu

import roiops
from roiops.testing import CASES, Case

KIND = "cuda" if has_gpu() or WANTED else "emulated"


@pytest.fixture(scope="module")
def gpu() -> Backend:
    if KIND == "emulated" and not has_sources():
        pytest.skip("without a GPU and without the kernels' sources")
    return BACKENDS[KIND]()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_is_what_the_cpu_says(case: Case, gpu: Backend) -> None:
    arguments = case.arguments(np.random.default_rng(0), False)
    like = {"like": np.empty(0, np.float32)} if case.operator in MAKERS else {}
    options = case.options | like
    expected = flat(getattr(roiops, case.operator)(*arguments, **options))
    for got, e in zip(flat(gpu(case.operator, *arguments, **options)), expected, strict=True):
        if case.decides or not isinstance(e, np.ndarray):
            assert np.array_equal(got, e)
        else:
            assert got.shape == e.shape
            assert got.dtype == e.dtype
            largest = float(np.abs(e).max(initial=1))
            np.testing.assert_allclose(got, e, rtol=1e-3, atol=1e-4 * largest)
