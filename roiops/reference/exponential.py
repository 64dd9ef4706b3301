"""e^x by plain arithmetic, where a decision hangs on it.

``numpy.exp`` may differ from another library's in the last digit, and then another box is kept.
Every step here is rounded in one defined way, so each backend that takes the same steps gets the
same bits. The result is that of ``numpy.exp`` to about one unit in the last place.
"""

import math

import numpy as np

# Of each type: ln 2 in two parts, n times the first of which is exact for the n that occur; the
# terms of the series; and the x beyond which e^x is 0 or infinite.
_FLOAT32 = (0.693359375, -2.12194440054690583e-4, 7, -104, 89)
_FLOAT64 = (6.93147180369123816490e-01, 1.90821492927058770002e-10, 13, -746, 710)


def exponential(x: np.ndarray) -> np.ndarray:
    """e^x in the dtype of x, float32 or float64.

    With n = round(x / ln 2) and r = x - n ln 2, e^x = 2^n e^r; |r| is small enough for the first
    terms of 1 + r + r^2/2! + ...
    """
    real = x.dtype.type
    high, low, terms, least, most = _FLOAT32 if real == np.float32 else _FLOAT64
    x = np.clip(x, real(least), real(most))
    n = np.rint(x * real(1 / math.log(2)))
    r = x - n * real(high) - n * real(low)
    series = real(1) / real(math.factorial(terms))
    for k in range(terms - 1, 1, -1):
        series = series * r + real(1) / real(math.factorial(k))
    series = series * (r * r) + r + real(1)
    return np.ldexp(series, n.astype(np.int32))
