"""Every mistake that the emulator claims to find is made once, and found; the same kernel without
it gives what it should, without a finding."""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from emulated import ROOT, Emulator

HERE = Path(__file__).parent

seeds = pytest.mark.parametrize("seed", [0, 1, 2])


def numbers(n: int) -> np.ndarray:
    return np.arange(n, dtype=np.float32)


class Call:
    """A kernel of kernels.cu on `n` numbers; the result, the error and the findings."""

    def __init__(self, emulator: Emulator, kernel: str, n: int, bug: int) -> None:
        source = numbers(n)
        self.input = source
        to = emulator.device(source)
        out = emulator.device(source, written=False)
        host = source.ctypes.data
        arguments = {
            "rotate": (to, out, n, bug),
            "barriers": (out, n, bug),
            "missing": (out, n, bug),
            "warps": (to, out, n, bug),
            "bounds": (to, out, n, host, bug),
            "hand_on": (to, out, bug),
            "shared_bounds": (out, bug),
            "accumulate": (to, out, n, bug),
            "local_bounds": (to, out, n, bug),
        }[kernel]
        self.error = emulator.run(kernel, *arguments)
        self.findings = emulator.findings()
        self.output = emulator.host(out, source)
        emulator.release(to, out)


EXPECTED = {
    "rotate": lambda x: np.roll(x, -1),
    "barriers": np.ones_like,
    "missing": np.ones_like,
    "warps": lambda x: np.repeat(x.reshape(-1, 32).sum(1), 32),
    "bounds": lambda x: x,
    "hand_on": lambda x: x[::-1],
    "shared_bounds": np.ones_like,
    "accumulate": lambda x: x,
    "local_bounds": lambda x: x,
}
SIZES = {"hand_on": 32, "shared_bounds": 32, "bounds": 100}


@seeds
@pytest.mark.parametrize("kernel", EXPECTED)
def test_a_correct_kernel_is_right_and_nothing_is_found(
    emulator: Emulator, kernel: str, seed: int
) -> None:
    emulator.settings(seed=seed)
    call = Call(emulator, kernel, SIZES.get(kernel, 64), bug=0)
    assert (call.error, call.findings) == (None, [])
    np.testing.assert_array_equal(call.output, EXPECTED[kernel](call.input))


EVERYWHERE = [
    ("barriers", 3, "after 32 threads have returned"),
    ("barriers", 4, "divergent barrier: threads wait at kernels.cu:"),
    ("missing", 5, "deadlock: some threads wait at the barrier"),
    ("warps", 6, "mask of a shuffle at kernels.cu:"),
    ("warps", 7, "waits for lanes of its mask, of which 1 have returned"),
    ("warps", 8, "which is not in its mask"),
    ("warps", 9, "meets that of"),
    ("warps", 10, "which is another"),
    ("bounds", 13, "misaligned: 16 bytes"),
]
WITH_HOOKS = [
    ("rotate", 1, "read of uninitialised shared memory"),
    ("rotate", 2, "race: "),
    ("bounds", 11, "out of bounds: reads byte 400 of a buffer of 400"),
    ("bounds", 12, "out of bounds: reads byte -"),
    ("bounds", 14, "reads memory that is not the device's"),
    ("hand_on", 16, "race: "),
    ("shared_bounds", 17, "out of bounds: writes shared memory beside an array"),
    ("accumulate", 19, "read of uninitialised device memory"),
]


def assert_found(emulator: Emulator, kernel: str, bug: int, finding: str, seed: int) -> None:
    emulator.settings(seed=seed)
    call = Call(emulator, kernel, SIZES.get(kernel, 64), bug=bug)
    assert any(finding in line for line in call.findings), call.findings


with_hooks = pytest.mark.parametrize("any_emulator", ["hooks"], indirect=True)


@seeds
@pytest.mark.parametrize(("kernel", "bug", "finding"), EVERYWHERE)
def test_a_mistake_is_found_in_every_build(
    emulator: Emulator, kernel: str, bug: int, finding: str, seed: int
) -> None:
    assert_found(emulator, kernel, bug, finding, seed)


@with_hooks
@seeds
@pytest.mark.parametrize(("kernel", "bug", "finding"), WITH_HOOKS)
def test_a_mistake_is_found_with_hooks(
    emulator: Emulator, kernel: str, bug: int, finding: str, seed: int
) -> None:
    assert_found(emulator, kernel, bug, finding, seed)


def with_address_sanitizer(*command: str) -> subprocess.CompletedProcess:
    """A Python process that has it from the beginning."""
    find = ["g++", "-print-file-name=libasan.so"]
    library = subprocess.run(find, capture_output=True, text=True, check=True).stdout.strip()
    return subprocess.run(
        [sys.executable, *command],
        env=os.environ | {"LD_PRELOAD": library, "ASAN_OPTIONS": "detect_leaks=0"},
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_correct_kernels_pass_the_sanitizers() -> None:
    done = with_address_sanitizer(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__,
        "-k", "not sanitizer and not hooks and not source and not misaligned",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


PLANTED = """
import sys
from pathlib import Path
from emulated import loaded
from test_emulator import Call

emulator = loaded("asan", Path(sys.argv[1]))
Call(emulator, "local_bounds", 64, bug=0)
print("correct", flush=True)
Call(emulator, "local_bounds", 64, bug=int(sys.argv[2]))
"""


@pytest.mark.parametrize(
    ("bug", "finding"), [(18, "stack-buffer-overflow"), (20, "signed integer overflow")]
)
def test_a_mistake_is_found_by_the_sanitizers(bug: int, finding: str, tmp_path: Path) -> None:
    program = f"import sys; sys.path[:0] = {[str(HERE), str(HERE.parent)]!r}\n{PLANTED}"
    done = with_address_sanitizer("-c", program, str(tmp_path), str(bug))
    assert done.stdout == "correct\n", done.stderr[-3000:]
    assert done.returncode != 0
    assert finding in done.stderr, done.stderr[-3000:]


def test_a_page_behind_every_buffer_stops_without_hooks(emulator: Emulator) -> None:
    call = Call(emulator, "bounds", 96, bug=11)
    assert call.error
    found = "out of bounds" if emulator.build == "hooks" else "0 bytes past the end of a buffer of"
    assert any(found in line and "bounds, block (1, 0, 0)" in line for line in call.findings)


def test_blocks_race_without_an_atomic(emulator: Emulator) -> None:
    total = np.zeros(1, np.int32)
    for bug in (0, 15):
        address = emulator.device(total)
        assert emulator.run("count", address, 40, bug) is None
        assert emulator.host(address, total)[0] == 40
        found = any("race" in line for line in emulator.findings())
        assert found == (bug == 15 and emulator.build == "hooks")
        emulator.release(address)


@with_hooks
@pytest.mark.parametrize("kernel", EXPECTED)
def test_threads_give_way_at_any_access(emulator: Emulator, kernel: str) -> None:
    emulator.settings(seed=5, preempt=2)
    call = Call(emulator, kernel, SIZES.get(kernel, 64), bug=0)
    assert (call.error, call.findings) == (None, [])
    np.testing.assert_array_equal(call.output, EXPECTED[kernel](call.input))


@with_hooks
def test_giving_way_loses_an_update_that_is_not_atomic(emulator: Emulator) -> None:
    total = np.zeros(64, np.float32)
    lost = 0
    for seed in range(1, 9):
        emulator.settings(seed=seed, preempt=2)
        address = emulator.device(total)
        emulator.run("careless", address, 64)
        lost += emulator.host(address, total)[0] < 64
        assert any("race" in line for line in emulator.findings())
        emulator.release(address)
    assert lost


# How far apart: sectors of both warps together, the bytes of them that anybody asked for, and
# sectors that differ.
STEPS = {1: (8, 256, 8), 2: (16, 256, 16), 8: (64, 256, 64), 0: (2, 8, 1)}


@pytest.mark.parametrize("step", STEPS)
def test_sectors_are_counted(emulator: Emulator, step: int) -> None:
    n = 64
    source, out = emulator.device(numbers(8 * n)), emulator.device(numbers(n), written=False)
    assert emulator.run("strided", source, out, n, step) is None
    traffic = emulator.traffic()
    emulator.release(source, out)
    if emulator.build != "hooks":
        return
    sectors, useful, distinct = STEPS[step]
    assert traffic["requests loaded"] == 2
    assert traffic["sectors loaded"] == sectors
    assert traffic["useful loaded"] == useful
    assert traffic["distinct loaded"] == traffic["floor loaded"] == distinct
    assert traffic["bytes loaded"] == traffic["bytes stored"] == traffic["useful stored"] == 4 * n
    assert traffic["sectors stored"] == traffic["floor stored"] == 8


def test_freed_memory_is_not_touched(emulator: Emulator) -> None:
    source, out = emulator.device(numbers(64)), emulator.device(numbers(64))
    emulator.release(source)
    assert emulator.run("strided", source, out, 64, 1)
    assert emulator.findings()
    emulator.release(out, out)
    assert "twice" in emulator.findings()[0]


LIMITS = [
    ((0, 1, 1, 32, 1, 1), "grid.x"),
    ((1, 65536, 1, 32, 1, 1), "grid.y"),
    ((1, 1, 65536, 32, 1, 1), "grid.z"),
    ((1, 1, 1, 1025, 1, 1), "block.x"),
    ((1, 1, 1, 1, 1, 65), "block.z"),
    ((1, 1, 1, 33, 32, 1), "threads per block"),
    ((1, 1, 1, 0, 1, 1), "block.x"),
]


@pytest.mark.parametrize(("sizes", "name"), LIMITS)
def test_launches_beyond_the_limits_are_refused(emulator: Emulator, sizes, name: str) -> None:
    assert emulator.run("where", 2**33, (ctypes.c_uint * 6)(*sizes))
    (finding,) = emulator.findings()
    assert finding.startswith(f"launch refused: {name} must be")


def test_shared_memory_is_that_of_the_architecture(emulator: Emulator) -> None:
    out = emulator.device(numbers(1))
    for architecture, most in ((75, 64), (80, 163), (86, 99), (89, 99), (90, 227), (120, 99)):
        emulator.settings(architecture=architecture)
        n = most * 256
        assert emulator.run("dynamic", out, n, 4 * n) is None
        assert emulator.host(out, numbers(1))[0] == n - 1
        assert emulator.run("dynamic", out, n, 4 * n + 4)
        assert f"shared memory of sm_{architecture} is at most" in emulator.findings()[0]
    assert emulator.run("dynamic", out, 4, 0)
    assert "none was asked for" in emulator.findings()[0]
    emulator.release(out)


@seeds
def test_every_thread_of_every_block_runs_once(emulator: Emulator, seed: int) -> None:
    sizes = (2, 3, 2, 5, 3, 4)
    threads = int(np.prod(sizes))
    out = np.full(threads + 1, -1, np.int32)
    out[-1] = 0
    address = emulator.device(out)
    emulator.settings(seed=seed)
    assert emulator.run("where", address, (ctypes.c_uint * 6)(*sizes)) is None
    got = emulator.host(address, out)
    assert got[-1] == threads
    assert sorted(got[:-1]) == list(range(threads))
    assert (seed == 0) == np.array_equal(got[:-1], np.arange(threads))
    emulator.release(address)


@seeds
def test_votes_and_shuffles(emulator: Emulator, seed: int) -> None:
    x = np.random.default_rng(seed).integers(-3, 8, 64).astype(np.int32)
    source, out = emulator.device(x), emulator.device(np.zeros((64, 8), np.int32))
    emulator.settings(seed=seed)
    assert emulator.run("votes", source, out, 64) is None
    got = emulator.host(out, np.zeros((64, 8), np.int32))
    for i in range(64):
        warp = x[i // 32 * 32 : i // 32 * 32 + 32]
        ballot = sum(1 << lane for lane in range(32) if warp[lane] > 0)
        lane = i % 32
        assert got[i].tolist() == [
            int(np.uint32(ballot).view(np.int32)),
            int((warp > 5).any()),
            int((warp > 0).all()),
            int((x > 5).any()),
            int((x > 0).all()),
            int((x > 0).sum()),
            warp[lane - 3] if lane >= 3 else warp[lane],
            warp[lane + 3] if lane + 3 < 32 else warp[lane],
        ]
    emulator.release(source, out)


@pytest.mark.skipif(not shutil.which("nvcc"), reason="without nvcc")
def test_the_same_source_is_cuda(tmp_path: Path) -> None:
    command = ["nvcc", "-std=c++17", "-arch=sm_80", "--fmad=false", "-Werror", "all-warnings",
               f"-I{ROOT / 'cuda'}", f"-I{ROOT / 'cpp'}", "-c", str(HERE / "kernels.cu"),
               "-o", str(tmp_path / "kernels.o")]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
