"""Finds what is wrong with a data set, all of it, before any time is spent on training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pycocotools import mask as coco_mask

from detector.data.coco import CocoDataset, Record, is_number, read_box, to_rle
from detector.data.errors import DataError

EDGE_TOLERANCE = 1.0
"""Pixels by which a box may stick out of its image: tools round differently."""
NO_AREA = "zero-area box"
LISTED = 10
"""Problems that an error message or a note spells out; the rest are counted."""


@dataclass(frozen=True)
class Problem:
    """Something wrong (`error`) or merely worth knowing (`note`), and where it is."""

    level: Literal["error", "note"]
    message: str
    file_name: str | None = None
    image_id: Any = None
    annotation_id: Any = None
    empty: bool = False
    """The object has no area: nothing else need be wrong with the file, it can be left out."""

    def __str__(self) -> str:
        ids = [
            f"{name} id {value!r}"
            for name, value in (("image", self.image_id), ("annotation", self.annotation_id))
            if value is not None
        ]
        where = " ".join(
            part for part in (self.file_name, f"({', '.join(ids)})" if ids else "") if part
        )
        return f"{where}: {self.message}" if where else self.message


def check_dataset(dataset: CocoDataset) -> list[Problem]:
    """All problems of a data set; decodes every image."""
    return [*_annotation_problems(dataset), *_image_problems(dataset.images, dataset.read)]


def validate_annotations(dataset: CocoDataset, skip_empty: bool = False) -> list[str]:
    """Raises one DataError that lists the first problems and counts them.

    Of the images it reads the headers only: that finds missing files and wrong sizes, and takes a
    minute where decoding takes an hour.

    skip_empty: annotations whose box has no area or whose mask has no pixel are taken out of the
    data set instead (COCO's own training file has some); returns a note that names them.
    """
    errors = [p for p in _annotation_problems(dataset) if p.level == "error"]
    notes = []
    if skip_empty:
        empty = [p for p in errors if p.empty]
        errors = [p for p in errors if not p.empty]
        dataset.leave_out({p.annotation_id for p in empty if isinstance(p.annotation_id, int)})
        if empty:
            listed = "; ".join(map(str, empty[:LISTED])) + ("; ..." if empty[LISTED:] else "")
            notes.append(f"{dataset.annotation_file}: left out as empty: {listed}")
    errors += _image_problems(dataset.images, dataset.check_header)
    if errors:
        lines = [f"  {problem}" for problem in errors[:LISTED]]
        if len(errors) > LISTED:
            lines.append(f"  ... and {len(errors) - LISTED} more (check-data lists all)")
        if any(problem.empty for problem in errors):
            lines.append("  (train.skip_empty=true leaves out annotations without area)")
        plural = "problem" if len(errors) == 1 else "problems"
        raise DataError("\n".join([f"{dataset.annotation_file}: {len(errors)} {plural}:", *lines]))
    return notes


def _annotation_problems(dataset: CocoDataset) -> Iterator[Problem]:
    name = str(dataset.annotation_file)
    if not dataset.images:
        yield Problem("error", "there are no images", name)
    if not dataset.annotations:
        yield Problem("error", "there are no annotations at all", name)
    if len(set(dataset.labels)) != len(dataset.categories):
        yield Problem("error", "a category id occurs twice", name)
    images: dict[Any, Record] = {}
    for image in dataset.images:
        if image["id"] in images:
            yield Problem("error", "the image id occurs twice", image["file_name"], image["id"])
        images.setdefault(image["id"], image)

    seen: set[Any] = set()
    for position, annotation in enumerate(dataset.annotations):
        if not isinstance(annotation, dict):
            yield Problem("error", f"entry {position} of annotations must be an object", name)
            continue
        yield from _problems_of_annotation(dataset, images, seen, annotation)

    empty = [i["file_name"] for i in dataset.images if not dataset.annotations_of(i["id"])]
    if empty and dataset.annotations:
        listed = ", ".join(empty[:LISTED]) + (", ..." if len(empty) > LISTED else "")
        yield Problem(
            "note", f"{len(empty)} image(s) without objects, kept as negatives: {listed}", name
        )


def _problems_of_annotation(
    dataset: CocoDataset, images: dict[Any, Record], seen: set[Any], annotation: Record
) -> Iterator[Problem]:
    identity, image_id = annotation.get("id"), annotation.get("image_id")

    def error(message: str, empty: bool = False) -> Problem:
        return Problem("error", message, file_name, image_id, identity, empty)

    if not dataset.has_image(image_id):
        file_name = str(dataset.annotation_file)
        yield error("the annotation belongs to an image that is not in the list of images")
        return
    image = images[image_id]
    file_name = image["file_name"]
    height, width = image["height"], image["width"]
    if not isinstance(identity, int):
        yield error("the annotation has no integer id")
    elif identity in seen:
        yield error("the annotation id occurs twice")
    else:
        seen.add(identity)
    try:
        dataset.label(annotation)
    except DataError as problem:
        yield error(str(problem))
    if annotation.get("iscrowd", 0) not in (0, 1):
        yield error(f"iscrowd must be 0 or 1; got {annotation['iscrowd']!r}")
    area = annotation.get("area", 0)
    if not is_number(area) or not np.isfinite(area):
        yield error(f"area must be a finite number; got {area!r}")

    box = None
    try:
        box = read_box(annotation)
        faults = list(_box_faults(box, height, width))
    except DataError as problem:
        faults = [str(problem)]
    for fault in faults:
        yield error(fault, empty=fault.startswith(NO_AREA))
    try:
        rle = to_rle(annotation, height, width)
    except DataError as problem:
        yield error(str(problem))
        return
    if coco_mask.area(rle) == 0:
        yield error("empty mask: the segmentation covers no pixel", empty=True)
    elif box is not None and not faults and not _overlap(box, tuple(coco_mask.toBbox(rle))):
        yield error("the box and the mask do not overlap")


def _box_faults(box: tuple[float, float, float, float], height: int, width: int) -> Iterator[str]:
    x, y, box_width, box_height = box
    # As float32, because that is what the network is given.
    x1, y1, x2, y2 = np.array([x, y, x + box_width, y + box_height], np.float32).tolist()
    if x2 <= x1 or y2 <= y1:
        yield f"{NO_AREA}: x, y, width, height {list(box)}"
    if min(x1, y1) < -EDGE_TOLERANCE or x2 > width + EDGE_TOLERANCE or y2 > height + EDGE_TOLERANCE:
        yield (
            f"box outside the image: x, y, width, height {list(box)} in an image of "
            f"{width} x {height}"
        )


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    """Whether two boxes (x, y, width, height) come within a pixel of each other."""
    return all(
        a[i] <= b[i] + b[i + 2] + EDGE_TOLERANCE and b[i] <= a[i] + a[i + 2] + EDGE_TOLERANCE
        for i in (0, 1)
    )


def _image_problems(
    images: Iterable[Record], look_at: Callable[[Record], object]
) -> Iterator[Problem]:
    for record in images:
        try:
            look_at(record)
        except DataError as error:
            yield Problem("error", str(error))
