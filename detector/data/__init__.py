"""Annotated images: reading, checking, transforming, loading."""

from detector.data.check import check_dataset, validate_annotations
from detector.data.coco import (
    Category,
    CocoDataset,
    Sample,
    find_files,
    nuclei_path,
    open_dataset,
)
from detector.data.errors import DataError
from detector.data.images import read_image

__all__ = [
    "Category",
    "CocoDataset",
    "DataError",
    "Sample",
    "check_dataset",
    "find_files",
    "nuclei_path",
    "open_dataset",
    "read_image",
    "validate_annotations",
]
