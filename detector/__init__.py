"""Mask R-CNN on the operators of `roiops`."""
