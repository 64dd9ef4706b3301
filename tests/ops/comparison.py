"""How two backends' values are compared.

What decides must be equal. A sum of products may be rounded differently: with every term rounded
once in each of two orders, two sums of `terms` terms differ by at most
2 * terms * eps * (sum of the terms' magnitudes). Tests give that magnitude, elementwise where they
can, so that the tolerance is as narrow as it can be justified.
"""

import numpy as np


def assert_sums_agree(
    got: np.ndarray, expected: np.ndarray, magnitude: np.ndarray | float, terms: float
) -> None:
    """Same shape and dtype, and values within the rounding of `terms` terms of that magnitude."""
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    eps = np.finfo(expected.dtype).eps
    smallest = np.finfo(expected.dtype).tiny  # underflow is flushed or not
    bound = 2 * terms * eps * np.asarray(magnitude, np.float64) + smallest
    with np.errstate(invalid="ignore"):  # infinity less infinity
        error = np.abs(got.astype(np.float64) - expected.astype(np.float64))
    different = ~((error <= bound) | (np.isnan(got) & np.isnan(expected)) | (got == expected))
    if different.any():
        worst = tuple(np.argwhere(different)[0])
        raise AssertionError(
            f"{different.sum()} of {different.size} values differ; first at {worst}: "
            f"got {got[worst]!r}, expected {expected[worst]!r}, "
            f"bound {np.broadcast_to(bound, got.shape)[worst]:.3g}"
        )


def assert_same_bits(got: np.ndarray, expected: np.ndarray) -> None:
    """Equal shape, dtype and every bit (so that NaN equals NaN and 0 is not -0)."""
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    unsigned = np.dtype(f"u{got.dtype.itemsize}")
    np.testing.assert_array_equal(
        np.ascontiguousarray(got).view(unsigned), np.ascontiguousarray(expected).view(unsigned)
    )


def assert_equal(got: np.ndarray, expected: np.ndarray) -> None:
    """Equal shape, dtype and values: for decisions."""
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    np.testing.assert_array_equal(got, expected)
