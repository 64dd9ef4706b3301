"""Every kind of bad input is found and named, before training where that is possible."""

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from detector.data import check_dataset, open_dataset, validate_annotations
from detector.data.check import LISTED
from detector.data.errors import DataError

NAN, INF = float("nan"), float("inf")
GOOD = {"size": [24, 32], "counts": [100, 20, 24 * 32 - 120]}
EMPTY = {"size": [24, 32], "counts": [24 * 32]}


def _string(runs):
    return coco_mask.frPyObjects(runs, *runs["size"])["counts"].decode()


BAD_ANNOTATIONS = {
    "unknown category": ({"category_id": 8}, "unknown category id 8"),
    "category is no number": ({"category_id": [7]}, "unknown category"),
    "missing image": ({"image_id": 5}, "image that is not in the list of images"),
    "zero width": ({"bbox": [4, 6, 0, 8]}, "zero-area box"),
    "zero height": ({"bbox": [4, 6, 10, 0]}, "zero-area box"),
    "negative width": ({"bbox": [14, 6, -10, 8]}, "zero-area box"),
    "vanishing in float32": ({"bbox": [4, 6, 1e-9, 8]}, "zero-area box"),
    "box right of the image": ({"bbox": [40, 6, 10, 8]}, "box outside the image"),
    "box left of the image": ({"bbox": [-20, 6, 10, 8]}, "box outside the image"),
    "box sticking out below": ({"bbox": [4, 6, 10, 30]}, "box outside the image"),
    "box of nan": ({"bbox": [4, NAN, 10, 8]}, "bbox must be finite"),
    "infinite box": ({"bbox": [4, 6, INF, 8]}, "bbox must be finite"),
    "box of three": ({"bbox": [4, 6, 10]}, "bbox must be four numbers"),
    "no box": ({"bbox": None}, "bbox must be four numbers"),
    "box of strings": ({"bbox": ["4", "6", "10", "8"]}, "bbox must be four numbers"),
    "box beside its mask": ({"bbox": [20, 16, 8, 6]}, "box and the mask do not overlap"),
    "area of nan": ({"area": NAN}, "area must be a finite number"),
    "crowd of two": ({"iscrowd": 2}, "iscrowd must be 0 or 1"),
    "no id": ({"id": None}, "no integer id"),
    "no segmentation": ({"segmentation": None}, "segmentation must be polygons or RLE"),
    "no polygon": ({"segmentation": []}, "at least one polygon"),
    "polygon of two points": ({"segmentation": [[4, 6, 14, 14]]}, "at least three points"),
    "polygon of odd length": ({"segmentation": [[4, 6, 14, 6, 14, 14, 4]]}, "a polygon must be"),
    "polygon of points": ({"segmentation": [[[4, 6], [14, 6], [14, 14]]]}, "a polygon must be"),
    "polygon of nan": ({"segmentation": [[4, 6, NAN, 6, 14, 14]]}, "a polygon must be finite"),
    "infinite polygon": ({"segmentation": [[4, 6, INF, 6, 14, 14]]}, "a polygon must be finite"),
    "huge polygon": ({"segmentation": [[4, 6, 1e8, 6, 14, 14]]}, "far outside the image"),
    "polygon without area": ({"segmentation": [[4, 6, 4, 6, 4, 6]]}, "empty mask"),
    "polygon outside": ({"segmentation": [[40, 6, 44, 6, 44, 14]]}, "empty mask"),
    "RLE of another size": ({"segmentation": GOOD | {"size": [32, 24]}}, "RLE size must be"),
    "RLE without size": ({"segmentation": {"counts": [768]}}, "RLE size must be"),
    "RLE without counts": ({"segmentation": {"size": [24, 32]}}, "RLE counts must be"),
    "RLE too short": ({"segmentation": GOOD | {"counts": [100, 20]}}, "sum 768"),
    "RLE too long": ({"segmentation": GOOD | {"counts": [100, 900]}}, "sum 768"),
    "RLE of negatives": ({"segmentation": GOOD | {"counts": [788, -20]}}, "non-negative"),
    "RLE of fractions": ({"segmentation": GOOD | {"counts": [700.5, 67.5]}}, "integers"),
    "empty RLE": ({"segmentation": EMPTY}, "empty mask"),
    "empty compressed RLE": (
        {"segmentation": EMPTY | {"counts": _string(EMPTY)}},
        "empty mask",
    ),
    "compressed RLE too short": (
        {"segmentation": GOOD | {"counts": _string(GOOD | {"counts": [100, 20]})}},
        "RLE counts must be a string for 768 pixels",
    ),
    "compressed RLE too long": (
        {"segmentation": GOOD | {"counts": _string(GOOD | {"counts": [100, 900]})}},
        "RLE counts must be a string for 768 pixels",
    ),
    "compressed RLE of nothing": ({"segmentation": GOOD | {"counts": ""}}, "RLE counts must be"),
    "compressed RLE of junk": ({"segmentation": GOOD | {"counts": "~~~!"}}, "RLE counts must be"),
    "compressed RLE not ASCII": ({"segmentation": GOOD | {"counts": "né"}}, "RLE counts must be"),
}


@pytest.mark.parametrize(("change", "message"), BAD_ANNOTATIONS.values(), ids=BAD_ANNOTATIONS)
def test_a_bad_annotation_is_found_and_named(change, message, make_dataset, square):
    good = square | {"id": 12, "image_id": 2}
    dataset = make_dataset([good, square | change], count=2)
    problems = [p for p in check_dataset(dataset) if p.level == "error"]
    assert [p.annotation_id for p in problems] == [change.get("id", 11)]
    (problem,) = problems
    assert message in problem.message
    assert problem.image_id == change.get("image_id", 1)
    assert problem.file_name == (
        str(dataset.annotation_file) if "image_id" in change else "001.png"
    )
    with pytest.raises(DataError, match="1 problem:") as error:
        validate_annotations(dataset)
    assert str(problem) in str(error.value)
    assert str(dataset.annotation_file) in str(error.value)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"annotations": []}, "there are no annotations at all"),
        ({"images": [], "annotations": []}, "there are no images"),
        ({"annotations": ["square"]}, "entry 0 of annotations must be an object"),
        (
            {"categories": [{"id": 7, "name": "date"}, {"id": 7, "name": "fig"}]},
            "a category id occurs twice",
        ),
    ],
)
def test_a_bad_file_is_found_and_named(document, message, make_dataset):
    dataset = make_dataset(**document)
    with pytest.raises(DataError, match=message) as error:
        validate_annotations(dataset)
    assert str(dataset.annotation_file) in str(error.value)


def test_ids_that_occur_twice(make_dataset, square):
    entry = {"id": 1, "file_name": "001.png", "height": 24, "width": 32}
    dataset = make_dataset([square, square], images=[entry, entry])
    messages = [str(p) for p in check_dataset(dataset) if p.level == "error"]
    assert messages == [
        "001.png (image id 1): the image id occurs twice",
        "001.png (image id 1, annotation id 11): the annotation id occurs twice",
    ]


def test_all_problems_are_listed_but_an_error_shows_only_the_first(make_dataset, square):
    bad = [square | {"id": i, "category_id": 8} for i in range(1, LISTED + 4)]
    dataset = make_dataset(bad)
    assert len(check_dataset(dataset)) == LISTED + 3
    with pytest.raises(DataError) as error:
        validate_annotations(dataset)
    assert f"{LISTED + 3} problems:" in str(error.value)
    assert "and 3 more" in str(error.value)
    assert str(error.value).count("unknown category") == LISTED


def test_one_annotation_may_have_several_problems(make_dataset, square):
    dataset = make_dataset([square | {"category_id": 8, "bbox": [0, 0, 0, 0]}])
    assert len(check_dataset(dataset)) == 2


def test_images_without_objects_are_a_note(make_dataset, square):
    dataset = make_dataset([square], count=3)
    (note,) = check_dataset(dataset)
    assert note.level == "note"
    assert "2 image(s) without objects" in note.message
    assert "002.png, 003.png" in note.message
    validate_annotations(dataset)


def test_boxes_may_be_rounded_and_differ_from_masks(make_dataset, square):
    rounded = square | {"bbox": [-0.5, 0, 33, 24.5]}
    differing = square | {"id": 12, "bbox": [9, 11, 10, 8]}
    assert check_dataset(make_dataset([rounded, differing])) == []


def test_bad_images_are_found_and_named(make_dataset):
    dataset = make_dataset(count=5)
    folder = dataset.image_dir
    (folder / "001.png").unlink()
    (folder / "002.png").write_text("not an image")
    Image.fromarray(np.zeros((32, 24), np.uint8)).save(folder / "003.png")
    (folder / "004.png").write_bytes((folder / "004.png").read_bytes()[:200])
    expected = {
        "001.png": "no such image file",
        "002.png": "cannot read",
        "003.png": "the annotation file says",
        "004.png": "truncated",
    }
    errors = [str(p) for p in check_dataset(dataset) if p.level == "error"]
    assert len(errors) == 4
    for number, (error, name) in enumerate(zip(errors, expected, strict=True), start=1):
        assert name in error
        assert expected[name] in error
        assert f"image id {number}" in error
    # Before training only the headers are read: they show all but the truncated file.
    with pytest.raises(DataError, match="3 problems:") as before:
        validate_annotations(dataset)
    for error in errors[:3]:
        assert error in str(before.value)


@pytest.mark.parametrize("name", ["coco", "fruits", "nuclei"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_the_real_data_has_no_problem(name, split, coco_data, fruits_data):
    root = {"coco": f"coco:{coco_data}", "fruits": f"coco:{fruits_data}", "nuclei": "nuclei"}
    assert check_dataset(open_dataset(root[name], split)) == []


EMPTY_OBJECTS = {
    "no area": {"bbox": [4, 4, 3, 0]},
    "no pixel": {"segmentation": EMPTY},
    "neither": {"bbox": [4, 4, 0, 0], "segmentation": EMPTY},
}


@pytest.mark.parametrize("change", EMPTY_OBJECTS.values(), ids=EMPTY_OBJECTS)
def test_empty_objects_can_be_left_out(change, make_dataset, square):
    dataset = make_dataset([square, square | {"id": 12} | change])
    with pytest.raises(DataError, match=r"train\.skip_empty=true leaves out"):
        validate_annotations(dataset)
    (note,) = validate_annotations(dataset, skip_empty=True)
    assert "left out as empty" in note
    assert "annotation id 12" in note
    assert len(dataset[0].boxes) == 1
    assert [a["id"] for a in dataset.annotations_of(1)] == [11]


def test_leaving_out_the_empty_excuses_nothing_else(make_dataset, square):
    dataset = make_dataset([square | {"bbox": [4, 4, 3, 0], "category_id": 8}])
    with pytest.raises(DataError, match="unknown category"):
        validate_annotations(dataset, skip_empty=True)


def test_nothing_left_out_is_no_note(make_dataset):
    assert validate_annotations(make_dataset(), skip_empty=True) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bbox": [4, 4, 10**400, 3]}, "bbox must be four numbers"),
        ({"segmentation": [[4, 4, 10**400, 4, 8, 8]]}, "a polygon must be a list"),
        ({"area": 10**400}, "area must be a finite number"),
    ],
)
def test_integers_beyond_any_float_are_no_numbers(change, message, make_dataset, square):
    dataset = make_dataset([square | change])
    with pytest.raises(DataError, match=message):
        validate_annotations(dataset)


@pytest.mark.parametrize("text", ["[" * 200_000, '{"images": [' + "9" * 5001 + "]}"])
def test_json_beyond_reason_is_named(text, make_dataset):
    dataset = make_dataset()
    dataset.annotation_file.write_text(text)
    with pytest.raises(DataError, match="cannot read the annotation file"):
        type(dataset)(dataset.image_dir, dataset.annotation_file)


def test_an_image_of_impossible_size_is_named(make_dataset):
    entry = {"id": 1, "file_name": "001.png", "height": 10**30, "width": 32}
    with pytest.raises(DataError, match="height and width must be positive, at most"):
        make_dataset(images=[entry])
