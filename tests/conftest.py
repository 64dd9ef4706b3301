"""The fixtures of the operator tests, and the hypothesis profiles.

`pytest --hypothesis-profile=long` searches wider and with fresh random examples.
"""

import pytest
from backends import BACKENDS, Backend, backends
from hypothesis import HealthCheck, settings

# Derandomised: a red test in CI is a defect, not bad luck, and is the same red test here.
settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    max_examples=80,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "long",
    deadline=None,
    max_examples=1000,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    names = backends()
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", names, indirect=True, scope="session")
    if "compiled" in metafunc.fixturenames:
        names.remove("reference")
        metafunc.parametrize("compiled", names, indirect=True, scope="session")
    if "fast" in metafunc.fixturenames:
        names = [name for name in names if name in ("cpu", "cuda")]
        metafunc.parametrize("fast", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend in turn, the reference too: what is independent of it must hold for it."""
    return BACKENDS[request.param]()


@pytest.fixture(scope="session")
def compiled(request: pytest.FixtureRequest) -> Backend:
    """Each backend that is compared with the reference."""
    return BACKENDS[request.param]()


@pytest.fixture(scope="session")
def fast(request: pytest.FixtureRequest) -> Backend:
    """Those that real work is not too much for."""
    return BACKENDS[request.param]()


@pytest.fixture(scope="session")
def cpu() -> Backend:
    """For what no other backend has: memory that may be short."""
    return BACKENDS["cpu"]()
