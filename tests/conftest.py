"""The fixtures of the operator tests, and the hypothesis profiles.

`pytest --hypothesis-profile=long` searches wider and with fresh random examples.
"""

import pytest
from backends import BACKENDS, Backend
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


@pytest.fixture(scope="session", params=list(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend in turn, the reference too: what is independent of it must hold for it."""
    return BACKENDS[request.param]()


@pytest.fixture(scope="session", params=[name for name in BACKENDS if name != "reference"])
def compiled(request: pytest.FixtureRequest) -> Backend:
    """Each backend that is compared with the reference."""
    return BACKENDS[request.param]()
