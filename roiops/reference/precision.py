"""Which floating type an operator computes in: one rule, used by every slice.

Half precision inputs are promoted to float32; float32 and float64 stay what they are. Everything
that *decides* something (is a sample inside, is an overlap above the threshold, which level) is
computed in this type on every backend, so that all of them decide alike.
"""

import numpy as np


def compute_dtype(*arrays: np.ndarray) -> np.dtype:
    """float64 if any of the arrays is float64, else float32."""
    wide = any(array.dtype == np.float64 for array in arrays)
    return np.dtype(np.float64 if wide else np.float32)
