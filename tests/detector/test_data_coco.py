"""Reading COCO's format and image files."""

import io
import json
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from detector.data import (
    Category,
    CocoDataset,
    DataError,
    find_files,
    nuclei_path,
    open_dataset,
    read_image,
)


@pytest.mark.parametrize("name", ["coco", "fruits", "nuclei"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_samples_are_what_pycocotools_reads(name, split, coco_data, fruits_data):
    root = {"coco": coco_data, "fruits": fruits_data, "nuclei": nuclei_path()}[name]
    dataset = open_dataset("nuclei" if name == "nuclei" else f"coco:{root}", split)
    with redirect_stdout(io.StringIO()):
        theirs = COCO(str(root / "annotations" / f"instances_{split}.json"))
    assert len(dataset) == len(theirs.getImgIds())
    for i in range(min(len(dataset), 6)):
        sample = dataset[i]
        height, width = sample.image.shape[:2]
        annotations = theirs.loadAnns(theirs.getAnnIds(imgIds=[sample.image_id]))
        assert sample.image.dtype == np.uint8
        assert sample.image.shape == (height, width, 3)
        assert sample.boxes.dtype == np.float32
        assert sample.labels.dtype == np.int64
        assert sample.masks.shape == (len(annotations), height, width)
        for j, annotation in enumerate(annotations):
            np.testing.assert_array_equal(sample.masks[j], theirs.annToMask(annotation))
            x, y, w, h = annotation["bbox"]
            np.testing.assert_allclose(sample.boxes[j], [x, y, x + w, y + h], rtol=1e-6)
            assert dataset.categories[sample.labels[j] - 1].id == annotation["category_id"]
            assert sample.crowd[j] == annotation["iscrowd"]


def test_the_real_data_has_every_kind_of_annotation(coco_data):
    val = open_dataset(f"coco:{coco_data}", "val")
    kinds = {type(annotation["segmentation"]) for annotation in val.annotations}
    assert kinds == {list, dict}
    assert any(annotation["iscrowd"] for annotation in val.annotations)
    ids = [category.id for category in val.categories]
    assert ids == sorted(ids)
    assert ids != list(range(1, len(ids) + 1))


def test_both_kinds_of_rle_and_polygons_give_the_same_mask(make_dataset, square):
    runs = {"size": [24, 32], "counts": [4 * 24 + 6] + 9 * [8, 16] + [8, 24 * 18 + 10]}
    compressed = coco_mask.frPyObjects(runs, 24, 32)
    strings = {"size": [24, 32], "counts": compressed["counts"].decode()}
    kinds = [square["segmentation"], runs, strings]
    dataset = make_dataset(
        [square | {"id": i + 1, "segmentation": kind} for i, kind in enumerate(kinds)]
    )
    expected = np.zeros((24, 32), np.uint8)
    expected[6:14, 4:14] = 1
    for _ in range(2):  # the second time without the checks
        for mask in dataset[0].masks:
            np.testing.assert_array_equal(mask, expected)


def test_an_image_without_objects(make_dataset, square):
    sample = make_dataset([square], count=2)[1]
    assert sample.boxes.shape == (0, 4)
    assert sample.labels.shape == sample.crowd.shape == (0,)
    assert sample.masks.shape == (0, 24, 32)


def test_boxes_do_not_reach_beyond_the_image_by_rounding(make_dataset, square):
    sample = make_dataset([square | {"bbox": [-0.4, 0, 32.9, 24.2]}])[0]
    np.testing.assert_array_equal(sample.boxes, [[0, 0, 32, 24]])


def test_categories_of_a_checkpoint_decide_the_labels(make_dataset):
    dataset = make_dataset()
    assert dataset.categories == (Category(7, "date"), Category(9, "fig"))
    assert dataset[0].labels.tolist() == [1]
    order = (Category(3, "nut"), Category(7, "date"))
    dataset = CocoDataset(dataset.image_dir, dataset.annotation_file, categories=order)
    assert dataset[0].labels.tolist() == [2]
    assert dataset.categories == order


def test_the_layouts_that_a_specification_names(make_dataset, tmp_path):
    made = make_dataset()
    for split, name in (("train", "train2017"), ("val", "val")):
        root = tmp_path / split
        (root / "annotations").mkdir(parents=True)
        made.image_dir.rename(root / name)
        (root / "annotations" / f"instances_{name}.json").write_bytes(
            made.annotation_file.read_bytes()
        )
        assert len(open_dataset(f"coco:{root}", split)) == 1
        assert find_files(f"coco:{root}", "val" if split == "train" else "train") is None
        (root / name).rename(made.image_dir)
    spec = f"coco:{made.annotation_file}:{made.image_dir}"
    assert find_files(spec, "val") == (made.image_dir, made.annotation_file)
    assert len(open_dataset(spec, "train")) == 1
    assert len(open_dataset("nuclei", "train")) == 40


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("imagenet", "data must be nuclei, coco:DIR or coco:ANNOTATIONS.json:IMAGE_DIR"),
        ("coco:", "data must be"),
        ("coco:/no/such/folder", "/no/such/folder: no such folder"),
        ("coco:{tmp}", "no annotations/instances_train.json nor instances_train2017.json"),
        ("coco:{tmp}/a.json:/no/such/images", "/no/such/images: no such image folder"),
        ("coco:{tmp}/a.json:{tmp}", "a.json: no such annotation file"),
    ],
)
def test_a_specification_that_names_nothing(spec, message, tmp_path):
    with pytest.raises(DataError, match=message):
        open_dataset(spec.format(tmp=tmp_path), "train")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot read the annotation file"),
        ("[]", 'not in COCO\'s instance format \\(no list "images"\\)'),
        ('{"images": [], "categories": []}', 'no list "annotations"'),
        ('{"images": [], "annotations": [], "categories": []}', "list of categories is empty"),
        (
            '{"images": [{"id": 1, "file_name": "a.png", "height": 2}], "annotations": [], '
            '"categories": [{"id": 1, "name": "a"}]}',
            "entry 0 of images: width must be int; got None",
        ),
        (
            '{"images": [{"id": 1, "file_name": "a.png", "height": 2, "width": 0}], '
            '"annotations": [], "categories": [{"id": 1, "name": "a"}]}',
            "a.png\\): height and width must be positive",
        ),
        (
            '{"images": [], "annotations": [], "categories": [{"id": 1}]}',
            "entry 0 of categories must have an integer id and a name",
        ),
    ],
)
def test_a_file_that_is_not_in_the_format(content, message, tmp_path):
    path = tmp_path / "annotations.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message) as error:
        CocoDataset(tmp_path, path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1", "CMYK"])
def test_images_of_eight_bits_become_rgb(mode, tmp_path):
    image = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).convert(mode)
    suffix = "tiff" if mode == "CMYK" else "png"
    image.save(tmp_path / f"a.{suffix}")
    read = read_image(tmp_path / f"a.{suffix}")
    assert read.shape == (8, 8, 3)
    np.testing.assert_array_equal(read, np.asarray(image.convert("RGB")))


def test_an_alpha_channel_is_dropped(tmp_path):
    pixels = np.full((4, 4, 4), 90, np.uint8)
    pixels[..., 3] = 0
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png") == 90).all()


@pytest.mark.parametrize(("dtype", "top"), [(np.uint16, 4095), (np.int32, 70000), (np.float32, 3)])
def test_wide_grey_images_are_scaled_to_their_largest_value(dtype, top, tmp_path):
    values = np.array([[0, top / 2], [top, top / 4]]).astype(dtype)
    Image.fromarray(values).save(tmp_path / "a.tiff")
    read = read_image(tmp_path / "a.tiff")
    assert read.dtype == np.uint8
    np.testing.assert_allclose(read[..., 0], [[0, 127.5], [255, 63.75]], atol=1)
    assert (read == read[..., :1]).all()


def test_orientation_is_applied_only_when_asked_for(tmp_path):
    pixels = np.zeros((4, 6, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").shape == (4, 6, 3)
    assert read_image(tmp_path / "a.jpg", apply_orientation=True).shape == (6, 4, 3)


def _break(path: Path, how: str) -> None:
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:300])
    elif how == "text":
        path.write_text("not an image")
    elif how == "empty":
        path.write_bytes(b"")
    else:
        Image.new("RGB", (24, 32)).save(path)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", "no such image file"),
        ("truncated", "cannot read the image"),
        ("text", "cannot read the image"),
        ("empty", "cannot read the image"),
        ("turned", r"has \(height, width\) \(32, 24\), the annotation file says \(24, 32\)"),
    ],
)
def test_an_image_that_cannot_be_used_is_named(how, message, make_dataset):
    dataset = make_dataset(count=2)
    _break(dataset.image_dir / "002.png", how)
    assert dataset[0].image.shape == (24, 32, 3)
    with pytest.raises(DataError, match=message) as error:
        dataset[1]
    assert "002.png" in str(error.value)
    assert "image id 2" in str(error.value)


def test_a_bad_annotation_is_named_when_its_image_is_read(make_dataset, square):
    dataset = make_dataset([square | {"category_id": 8}])
    with pytest.raises(DataError, match="unknown category id 8") as error:
        dataset[0]
    assert "001.png (image id 1, annotation id 11" in str(error.value)


def test_a_data_set_can_be_sent_to_another_process(make_dataset):
    import pickle

    dataset = make_dataset()
    copied = pickle.loads(pickle.dumps(dataset))
    np.testing.assert_array_equal(copied[0].masks, dataset[0].masks)


def test_the_embedded_images_are_complete():
    for split, images, objects in (("train", 40, 1112), ("val", 16, 400)):
        document = json.loads(
            (nuclei_path() / "annotations" / f"instances_{split}.json").read_text()
        )
        assert (len(document["images"]), len(document["annotations"])) == (images, objects)
    assert "CC0" in (nuclei_path() / "README.md").read_text()
