"""C's round: half away from zero. (NumPy and torch round half to even.)"""

import numpy as np


def round_half_away(x: np.floating) -> np.floating:
    """`x` rounded to a whole number, in its own type."""
    whole = np.trunc(x)
    # A number minus its truncation has no rounding error.
    return whole + np.sign(x) if abs(x - whole) >= 0.5 else whole
