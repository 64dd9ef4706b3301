"""Data sets in COCO's instance format, and the specifications that name them."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pycocotools import mask as coco_mask

from detector.data.errors import DataError
from detector.data.images import read_image, read_size

Split = Literal["train", "val"]
Record = dict[str, Any]


LONGEST_SIDE = 100_000
"""Pixels; no picture that could be decoded has more."""


@dataclass(frozen=True)
class Category:
    """A class of objects: `id` is the data set's own, sparse; the contiguous label is 1 + index."""

    id: int
    name: str


@dataclass(frozen=True)
class Sample:
    """One image and its G annotated objects, crowds included."""

    image: np.ndarray
    """uint8 (H, W, 3), RGB."""
    boxes: np.ndarray
    """float32 (G, 4): x1, y1, x2, y2 in pixels, within the image."""
    labels: np.ndarray
    """int64 (G,): 1..K."""
    masks: np.ndarray
    """uint8 (G, H, W): 0 or 1."""
    crowd: np.ndarray
    """bool (G,): regions of many objects; no training targets, ignored in evaluation."""
    image_id: int
    file_name: str


class CocoDataset:
    """Images and objects of one annotation file.

    The file may have errors in single annotations: `check.validate_annotations` names them all,
    and `dataset[i]` raises DataError for the image that has one. Images without annotations are
    part of the data set.

    Parameters
    ----------
    image_dir, annotation_file : where the images are, and their JSON file in COCO's format.
    categories : the order of labels to use (that of a checkpoint, say) instead of the file's own,
        which is by ascending id. Annotations of other categories are then errors.

    Raises
    ------
    DataError : the file cannot be read, is not in COCO's format, or an entry of "images" or
        "categories" lacks what is needed to find or name it.
    """

    def __init__(
        self,
        image_dir: Path | str,
        annotation_file: Path | str,
        categories: Sequence[Category] | None = None,
    ) -> None:
        self.image_dir = Path(image_dir)
        self.annotation_file = Path(annotation_file)
        if not self.image_dir.is_dir():
            raise DataError(f"{self.image_dir}: no such image folder")
        document = _read_json(self.annotation_file)
        self.images = [self._checked_image(i, entry) for i, entry in enumerate(document["images"])]
        self.annotations: list[Record] = document["annotations"]
        own = [self._checked_category(i, entry) for i, entry in enumerate(document["categories"])]
        if not own:
            raise DataError(f"{self.annotation_file}: the list of categories is empty")
        self.categories = tuple(categories or sorted(own, key=lambda category: category.id))
        self.labels = {category.id: 1 + i for i, category in enumerate(self.categories)}
        self._positions: dict[int, list[int]] = {image["id"]: [] for image in self.images}
        for position, annotation in enumerate(self.annotations):
            if isinstance(annotation, dict) and self.has_image(annotation.get("image_id")):
                self._positions[annotation["image_id"]].append(position)
        self._checked_masks: set[int] = set()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        """Raises DataError, with file and ids, when the image or an annotation is unusable."""
        record = self.images[index]
        height, width = record["height"], record["width"]
        image = self.read(record)
        positions = self._positions[record["id"]]
        boxes = np.zeros((len(positions), 4), np.float32)
        labels = np.zeros(len(positions), np.int64)
        crowd = np.zeros(len(positions), bool)
        rles = []
        for i, position in enumerate(positions):
            annotation = self.annotations[position]
            try:
                x, y, box_width, box_height = read_box(annotation)
                labels[i] = self.label(annotation)
                # Checking a mask costs as much as decoding it, so it is done once.
                checked = position in self._checked_masks
                rles.append(to_rle(annotation, height, width, check=not checked))
                self._checked_masks.add(position)
            except DataError as error:
                raise DataError(f"{self.describe(record, annotation)}: {error}") from None
            boxes[i] = x, y, x + box_width, y + box_height
            crowd[i] = bool(annotation.get("iscrowd", 0))
        masks = np.zeros((0, height, width), np.uint8)
        if rles:
            masks = coco_mask.decode(rles).transpose(2, 0, 1)  # a view: not contiguous
        # Files round coordinates; a box must not reach beyond the image by the rounding.
        np.clip(boxes, 0, [width, height, width, height], out=boxes)
        return Sample(image, boxes, labels, masks, crowd, record["id"], record["file_name"])

    def image_path(self, record: Mapping[str, Any]) -> Path:
        return self.image_dir / str(record["file_name"])

    def annotations_of(self, image_id: int) -> list[Record]:
        return [self.annotations[position] for position in self._positions[image_id]]

    def leave_out(self, annotation_ids: Collection[int]) -> None:
        """From now on these annotations are not part of the data set."""
        for image_id, positions in self._positions.items():
            self._positions[image_id] = [
                p for p in positions if self.annotations[p].get("id") not in annotation_ids
            ]

    def has_image(self, image_id: object) -> bool:
        return _hashable(image_id) in self._positions

    def read(self, record: Mapping[str, Any]) -> np.ndarray:
        """The image of an entry of `images`, uint8 (H, W, 3), its size checked."""
        try:
            image = read_image(self.image_path(record))
        except DataError as error:
            raise DataError(f"{error} (image id {record['id']})") from error
        self._check_size(record, image.shape[:2])
        return image

    def check_header(self, record: Mapping[str, Any]) -> None:
        """Raises what `read` would, as far as the header of the image file shows it."""
        try:
            size = read_size(self.image_path(record))
        except DataError as error:
            raise DataError(f"{error} (image id {record['id']})") from error
        self._check_size(record, size)

    def _check_size(self, record: Mapping[str, Any], size: tuple[int, ...]) -> None:
        expected = (record["height"], record["width"])
        if size != expected:
            raise DataError(
                f"{self.image_path(record)} (image id {record['id']}): the image has (height, "
                f"width) {size}, the annotation file says {expected}; annotations must refer to "
                "the pixels as stored, without EXIF rotation"
            )

    def label(self, annotation: Mapping[str, Any]) -> int:
        """The contiguous label, 1..K, of an annotation."""
        category = _hashable(annotation.get("category_id"))
        if category not in self.labels:
            raise DataError(f"unknown category id {category!r}")
        return self.labels[category]

    def describe(self, record: Mapping[str, Any], annotation: Mapping[str, Any]) -> str:
        return (
            f"{record['file_name']} (image id {record['id']}, annotation id "
            f"{annotation.get('id')!r}, in {self.annotation_file})"
        )

    def _checked_image(self, position: int, entry: object) -> Record:
        where = f"{self.annotation_file}: entry {position} of images"
        if not isinstance(entry, dict):
            raise DataError(f"{where} must be an object; got {entry!r}")
        for key, kind in (("id", int), ("file_name", str), ("height", int), ("width", int)):
            if not isinstance(entry.get(key), kind) or (kind is int and entry[key] is True):
                raise DataError(f"{where}: {key} must be {kind.__name__}; got {entry.get(key)!r}")
        if not all(1 <= entry[side] <= LONGEST_SIDE for side in ("height", "width")):
            raise DataError(
                f"{where} ({entry['file_name']}): height and width must be positive, at most "
                f"{LONGEST_SIDE}"
            )
        return entry

    def _checked_category(self, position: int, entry: object) -> Category:
        if not (
            isinstance(entry, dict)
            and isinstance(entry.get("id"), int)
            and isinstance(entry.get("name"), str)
        ):
            raise DataError(
                f"{self.annotation_file}: entry {position} of categories must have an integer id "
                f"and a name; got {entry!r}"
            )
        return Category(entry["id"], entry["name"])


def read_box(annotation: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """The annotation's `bbox`: x, y, width, height in pixels. Raises DataError if malformed."""
    box = annotation.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        raise DataError(f"bbox must be four numbers x, y, width, height; got {_short(box)}")
    if not all(map(math.isfinite, box)):
        raise DataError(f"bbox must be finite; got {_short(box)}")
    return box[0], box[1], box[2], box[3]


def to_rle(annotation: Mapping[str, Any], height: int, width: int, *, check: bool = True) -> Record:
    """The annotation's mask as pycocotools' compressed RLE.

    `check` is there to be left out where the same annotation has passed it before. It must come
    first: pycocotools hangs on polygons that are not finite, and answers an RLE that is too short
    with uninitialised memory.

    Raises: DataError when the segmentation is missing, malformed or of another size.
    """
    segmentation: Any = annotation.get("segmentation")
    if check:
        _check_segmentation(segmentation, height, width)
    if isinstance(segmentation, list):
        return coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    if isinstance(segmentation["counts"], list):
        return coco_mask.frPyObjects(segmentation, height, width)
    return {"size": [height, width], "counts": segmentation["counts"].encode("ascii")}


def _check_segmentation(segmentation: Any, height: int, width: int) -> None:
    if isinstance(segmentation, list):
        return _check_polygons(segmentation, height, width)
    if not isinstance(segmentation, dict):
        raise DataError(f"segmentation must be polygons or RLE; got {_short(segmentation)}")
    counts, size = segmentation.get("counts"), segmentation.get("size")
    if size != [height, width]:
        raise DataError(f"RLE size must be [{height}, {width}]; got {_short(size)}")
    pixels = height * width
    if isinstance(counts, list):
        if not all(isinstance(n, int) and n >= 0 for n in counts) or sum(counts) != pixels:
            raise DataError(
                f"RLE counts must be non-negative integers of sum {pixels}; got {_short(counts)}"
            )
    # pycocotools refuses runs that exceed the size, and only those: with one pixel less it must.
    elif not (
        isinstance(counts, str)
        and counts.isascii()
        and _fits(counts, pixels)
        and not (pixels > 1 and _fits(counts, pixels - 1))
    ):
        raise DataError(f"RLE counts must be a string for {pixels} pixels; got {_short(counts)}")


def _fits(counts: str, pixels: int) -> bool:
    try:
        coco_mask.decode({"size": [pixels, 1], "counts": counts.encode("ascii")})
    except ValueError:
        return False
    return True


def _check_polygons(polygons: list[Any], height: int, width: int) -> None:
    if not polygons:
        raise DataError("segmentation must hold at least one polygon; got []")
    for polygon in polygons:
        if (
            not isinstance(polygon, list)
            or len(polygon) < 6
            or len(polygon) % 2
            or not all(map(is_number, polygon))
        ):
            raise DataError(
                "a polygon must be a list of x, y, x, y, ... of at least three points; "
                f"got {_short(polygon)}"
            )
        if not all(map(math.isfinite, polygon)):
            raise DataError(f"a polygon must be finite; got {_short(polygon)}")
        # Rasterising takes memory and time in proportion to the length of the outline.
        if not all(
            -side <= v <= 2 * side
            for values, side in ((polygon[0::2], width), (polygon[1::2], height))
            for v in values
        ):
            raise DataError(f"a polygon lies far outside the image; got {_short(polygon)}")


def is_number(value: object) -> bool:
    """A float, or an integer that is one without loss: JSON's may have thousands of digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) <= 2**53
    return isinstance(value, float)


def _hashable(value: object) -> Any:
    return value if isinstance(value, (int, str)) else None


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _read_json(path: Path) -> Record:
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path}: no such annotation file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot read the annotation file ({error})") from error
    for key in ("images", "annotations", "categories"):
        if not isinstance(document, dict) or not isinstance(document.get(key), list):
            raise DataError(f'{path}: not in COCO\'s instance format (no list "{key}")')
    return document


def nuclei_path() -> Path:
    """The folder of the embedded nuclei images (CC0; see its README)."""
    return Path(__file__).parent / "nuclei_dsb2018"


def find_files(spec: str, split: Split) -> tuple[Path, Path] | None:
    """Image folder and annotation file of a specification; None if it has no such split.

    `nuclei`: the embedded images. `coco:DIR`: DIR/annotations/instances_train.json and DIR/train,
    or the layout of COCO 2017 (instances_train2017.json, train2017), the same for val.
    `coco:ANNOTATIONS.json:IMAGE_DIR`: these files, whichever split is asked for.

    Raises: DataError when the specification is not one of these.
    """
    kind, _, rest = spec.partition(":")
    if spec == "nuclei":
        root = nuclei_path()
    elif kind == "coco" and ".json:" in rest:
        stem, _, image_dir = rest.partition(".json:")
        return Path(image_dir), Path(stem + ".json")
    elif kind == "coco" and rest:
        root = Path(rest)
        if not root.is_dir():
            raise DataError(f"{root}: no such folder")
    else:
        raise DataError(
            f"data must be nuclei, coco:DIR or coco:ANNOTATIONS.json:IMAGE_DIR; got {spec!r}"
        )
    for name in (split, f"{split}2017"):
        annotation_file = root / "annotations" / f"instances_{name}.json"
        if annotation_file.is_file():
            return root / name, annotation_file
    return None


def open_dataset(
    spec: str, split: Split, categories: Sequence[Category] | None = None
) -> CocoDataset:
    """Opens one split of a specification (see `find_files`). Raises DataError if it lacks it."""
    files = find_files(spec, split)
    if files is None:
        raise DataError(
            f"{spec}: no annotations/instances_{split}.json nor instances_{split}2017.json in it"
        )
    return CocoDataset(*files, categories=categories)
