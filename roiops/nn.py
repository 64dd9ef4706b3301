"""Import this to have ``torch.ops.roiops`` registered whatever the import order."""

import torch  # noqa: F401

import roiops._torch  # noqa: F401
