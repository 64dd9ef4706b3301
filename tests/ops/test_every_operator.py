"""What holds for every operator, on the work in roiops.testing.CASES: the reference's results, the
same bits for any number of threads, layout, array library and repetition."""

import inspect
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from backends import ABOUT_THE_MACHINE, MAKERS, Backend, convert, flat, is_numpy
from comparison import assert_equal, assert_same_bits
from strategies import LAYOUTS

import roiops
from roiops._arrays import adopt
from roiops.testing import CASES, Case

# Gradients that the reference does not have: gradcheck holds them to its forward functions.
GRADCHECKED = {
    "box_iou_backward",
    "complete_box_iou_backward",
    "decode_boxes_backward",
    "distance_box_iou_backward",
    "encode_boxes_backward",
    "generalized_box_iou_backward",
}

# Operators that answer in Python's own types, whatever arrays they are given.
ANSWERS_IN_PYTHON = {"paste_masks_rle"}

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def made(case: Case, full: bool = False) -> tuple:
    return case.arguments(np.random.default_rng(0), full)


def run(backend: Backend, case: Case, arguments: tuple) -> list[np.ndarray]:
    return arrays(backend(case.operator, *arguments, **case.options))


def arrays(result) -> list:
    """The arrays of a result, however nested; other values as arrays."""
    return [as_array(leaf) for leaf in flat(result)]


def as_array(value):
    if isinstance(value, bytes):
        return np.frombuffer(value, np.uint8)
    return np.asarray(value) if isinstance(value, int) else value


def assert_bits(got: list, expected: list) -> None:
    for one, other in zip(got, expected, strict=True):
        assert_same_bits(np.asarray(one), np.asarray(other))


@pytest.fixture(autouse=True)
def _restore_threads() -> Iterator[None]:
    before = roiops.get_num_threads()
    yield
    roiops.set_num_threads(before)


def test_every_operator_has_a_case() -> None:
    functions = {name for name in roiops.__all__ if inspect.isfunction(getattr(roiops, name))}
    assert {case.operator for case in CASES} == functions - ABOUT_THE_MACHINE
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.operator not in GRADCHECKED], ids=lambda case: case.name
)
def test_is_the_references(compiled: Backend, case: Case) -> None:
    arguments = made(case)
    expected = arrays(getattr(roiops.reference, case.operator)(*arguments, **case.options))
    for got, wanted in zip(run(compiled, case, arguments), expected, strict=True):
        if case.decides:
            assert_equal(got, wanted)
        else:
            assert got.dtype == wanted.dtype
            atol = 1e-5 * np.abs(wanted).max(initial=0)
            np.testing.assert_allclose(got, wanted, rtol=0, atol=atol)


@every_case
def test_threads_and_repetition_do_not_change_a_bit(fast: Backend, case: Case) -> None:
    arguments = made(case, full=True)
    fast.ops.set_num_threads(1)
    expected = run(fast, case, arguments)
    for threads in (1, 2, 3, 8):
        fast.ops.set_num_threads(threads)
        assert_bits(run(fast, case, arguments), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@every_case
def test_layout_does_not_change_a_bit(compiled: Backend, case: Case, layout: str) -> None:
    arguments = made(case)
    lying = convert(arguments, is_numpy, LAYOUTS[layout])
    assert_bits(run(compiled, case, lying), run(compiled, case, arguments))


class Exporter:
    """Another library's array: it offers its memory through DLPack, and nothing else."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


@every_case
def test_dlpack_exporters_are_taken(case: Case) -> None:
    arguments = made(case)
    operator: Callable = getattr(roiops, case.operator)
    got = arrays(operator(*convert(arguments, is_numpy, Exporter), **case.options))
    assert_bits(got, arrays(operator(*arguments, **case.options)))


def test_dlpack_exporters_are_not_copied() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)[::-1]
    _, adopted = adopt("test", boxes=Exporter(array))
    assert np.shares_memory(adopted, array)
    assert_same_bits(adopted, array)


def swapped(array: np.ndarray) -> np.ndarray:
    return array.astype(array.dtype.newbyteorder())


def misaligned(array: np.ndarray) -> np.ndarray:
    memory = np.zeros(array.nbytes + 1, np.uint8)[1:]
    shifted = memory.view(array.dtype).reshape(array.shape)
    shifted[...] = array
    return shifted


@pytest.mark.parametrize("spoil", [swapped, misaligned])
@pytest.mark.parametrize(
    "case",
    # Not those whose arguments are numbers, or bytes alone.
    [case for case in CASES if case.operator not in {*MAKERS, "masks_to_boxes"}],
    ids=lambda case: case.name,
)
def test_arrays_that_cannot_be_read_are_refused_by_name(case: Case, spoil: Callable) -> None:
    operator: Callable = getattr(roiops, case.operator)
    arguments = made(case)
    spoilt = convert(arguments, lambda a: is_numpy(a) and a.itemsize > 1, spoil)
    with pytest.raises(
        TypeError, match=rf"{case.operator}: [\w\[\].]+ must be aligned and in native"
    ):
        operator(*spoilt, **case.options)


@every_case
def test_torch_has_the_same_bits(case: Case) -> None:
    torch = pytest.importorskip("torch")
    arguments = made(case)
    operator: Callable = getattr(roiops, case.operator)
    options = case.options
    expected = operator(*arguments, **options)
    if case.operator in MAKERS:
        options = options | {"like": torch.zeros(0)}
    got = operator(*convert(arguments, is_numpy, torch.from_numpy), **options)
    assert type(got) is type(convert(expected, is_numpy, torch.from_numpy))
    if case.operator not in ANSWERS_IN_PYTHON:
        assert all(torch.is_tensor(leaf) for leaf in arrays(got))
    assert_bits([np.asarray(leaf) for leaf in arrays(got)], arrays(expected))
