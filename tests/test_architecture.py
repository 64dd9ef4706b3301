"""The rooms of the repository and what each may touch (docs/architecture.md).

A rule is a function of a file's path and text that returns what is wrong with it. Every rule is run
on every file, and on the planted violations at the end, so that none of them is a rule that cannot
fail.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("cpp", "cuda", "roiops", "detector", "benchmarks", "tests", "tools")
CPP_SUFFIXES = {".cpp", ".h", ".cu", ".cuh"}

STANDARD_HEADERS = set(
    """
    algorithm any array atomic bitset charconv chrono complex condition_variable deque exception
    forward_list functional future initializer_list iomanip ios iosfwd iostream istream iterator
    limits list locale map memory memory_resource mutex new numeric optional ostream queue random
    ratio regex scoped_allocator set shared_mutex sstream stack stdexcept streambuf string
    string_view strstream system_error thread tuple type_traits typeindex typeinfo unordered_map
    unordered_set utility valarray variant vector cassert cctype cerrno cfenv cfloat cinttypes
    climits clocale cmath csetjmp csignal cstdarg cstddef cstdint cstdio cstdlib cstring ctime
    cwchar cwctype
    """.split()  # noqa: SIM905
)
# After a fork the pool is made anew, and the cores this process may use are counted: POSIX, there.
# The fuzzer stops what takes too long. 16-bit floats are converted by an instruction.
SYSTEM_HEADERS = {
    "cpp/parallel.cpp": {"pthread.h", "sched.h"},
    "cpp/huge_pages.cpp": {"sys/mman.h"},
    "cpp/channel_blocks.isa.cpp": {"immintrin.h"},
    "cpp/fuzz/main.cpp": {"signal.h", "unistd.h"},
}
# Headers that define nothing a linker could share between instruction sets (cpp/roiops/isa.h): what
# the compiler's own defines is inlined always.
ISA_SAFE = re.compile(
    r"roiops/(config|decay|geometry|half|isa)\.h|internal/(block|exponential|simd|tile|\w+_kernels)\.h"
    r"|cstdint|cmath|limits|immintrin\.h"
)
FORBIDDEN_STEMS = {"misc", "util", "utils", "helper", "helpers", "common"}

Rule = Callable[[PurePosixPath, str], list[str]]


# --- reading a file -----------------------------------------------------------------------------


def includes(text: str) -> list[str]:
    return re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', text, re.MULTILINE)


def imports(tree: ast.AST) -> Iterator[str]:
    """Dotted names of all that is imported anywhere in ``tree``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports_at_import(tree: ast.Module) -> Iterator[str]:
    """Those that run when the module is imported: outside functions and TYPE_CHECKING."""
    for node in tree.body:
        yield from _imports_at_import(node)


def _imports_at_import(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from imports(node)
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.stmt, ast.ExceptHandler)):
            yield from _imports_at_import(child)  # type: ignore[arg-type]


def within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def is_python(path: PurePosixPath, *rooms: str) -> bool:
    return path.suffix == ".py" and any(path.is_relative_to(room) for room in rooms)


def is_cpp(path: PurePosixPath, *rooms: str) -> bool:
    return path.suffix in CPP_SUFFIXES and any(path.is_relative_to(room) for room in rooms)


# --- the rules ----------------------------------------------------------------------------------


def core_includes_std_and_itself(path: PurePosixPath, text: str) -> list[str]:
    if not is_cpp(path, "cpp"):
        return []
    allowed = STANDARD_HEADERS | SYSTEM_HEADERS.get(str(path), set())
    own = set((ROOT / "cpp").glob("*/*.h"))
    return [
        f"{path} includes {name}: neither the standard library nor a header of cpp/roiops"
        for name in includes(text)
        if name not in allowed
        and (ROOT / "cpp" / name).resolve() not in own
        and (ROOT / path.parent / name).resolve() not in own
    ]


def public_headers_include_public_ones(path: PurePosixPath, text: str) -> list[str]:
    if not is_cpp(path, "cpp/roiops"):
        return []
    return [
        f"{path} includes {name}: it is installed, headers of cpp/internal are not"
        for name in includes(text)
        if name.startswith("internal/")
    ]


def isa_files_share_no_code(path: PurePosixPath, text: str) -> list[str]:
    if not (
        is_cpp(path, "cpp") and (path.name.endswith((".isa.cpp", "_kernels.h", "simd.h", "tile.h")))
    ):
        return []
    return [
        f"{path} includes {name}: its inline functions could be emitted for one instruction set "
        "and called on a machine without it"
        for name in includes(text)
        if not ISA_SAFE.fullmatch(name)
    ]


def cuda_headers_in_one_file(path: PurePosixPath, text: str) -> list[str]:
    if path.suffix not in CPP_SUFFIXES or str(path) == "cuda/compat.cuh":
        return []
    vendor = re.compile(r"(cuda|cub|thrust|nv|cooperative_groups|curand|cublas|device_)\w*[./].*")
    return [
        f"{path} includes {name}: CUDA headers are included by cuda/compat.cuh alone"
        for name in includes(text)
        if vendor.fullmatch(name) and not (ROOT / path.parent / name).is_file()
    ]


def python_headers_in_the_binding(path: PurePosixPath, text: str) -> list[str]:
    if path.suffix not in CPP_SUFFIXES or path.is_relative_to("roiops/_binding"):
        return []
    return [
        f"{path} includes {name}: only roiops/_binding knows Python"
        for name in includes(text)
        if name.startswith("pybind11/") or name == "Python.h"
    ]


def torch_headers_nowhere(path: PurePosixPath, text: str) -> list[str]:
    if path.suffix not in CPP_SUFFIXES:
        return []
    return [
        f"{path} includes {name}: no compiled module knows a framework"
        for name in includes(text)
        if name.startswith(("torch/", "ATen/", "c10/", "caffe2/"))
    ]


def streams_nowhere(path: PurePosixPath, text: str) -> list[str]:
    """The core's messages must not depend on which C++ library a process loaded first."""
    if path.suffix not in CPP_SUFFIXES or path.match("cpp/example/*") or path.match("cpp/fuzz/*"):
        return []
    streams = ("iomanip", "ios", "iostream", "istream", "locale", "ostream", "regex", "sstream")
    return [
        f"{path} includes {name}: no streams and locales"
        for name in includes(text)
        if name in (*streams, "fstream")
    ]


# What these files may import beside NumPy; others import them only inside functions.
BESIDE_NUMPY = {
    "roiops/_torch.py": ("torch",),
    "roiops/_torch_calls.py": ("torch",),
    "roiops/nn.py": ("torch",),
    "roiops/onnx/[a-z]*.py": ("onnx_ir", "onnxscript"),
}
INSIDE_FUNCTIONS = {"roiops/onnx/__init__.py": ("torch", "onnxscript")}


def roiops_needs_numpy_alone(path: PurePosixPath, text: str) -> list[str]:
    if not is_python(path, "roiops"):
        return []
    beside = next((names for file, names in BESIDE_NUMPY.items() if path.match(file)), ())
    inside = INSIDE_FUNCTIONS.get(str(path), ())
    tree = ast.parse(text)
    allowed = ("numpy", "roiops", *beside, *inside, *sys.stdlib_module_names)
    wrong = [
        f"{path} imports {name}: roiops needs NumPy alone"
        for name in imports(tree)
        if not within(name, *allowed)
    ]
    if beside:
        return wrong
    return wrong + [
        f"{path} imports {name} when it is imported: roiops needs NumPy alone"
        for name in imports_at_import(tree)
        if within(name, "roiops._torch", "roiops._torch_calls", "roiops.nn", *inside)
        or name.startswith("roiops.onnx.")
    ]


def reference_stands_alone(path: PurePosixPath, text: str) -> list[str]:
    if not is_python(path, "roiops/reference"):
        return []
    allowed = ("numpy", "roiops.reference", *sys.stdlib_module_names)
    return [
        f"{path} imports {name}: the specification is written in NumPy, next to nothing else"
        for name in imports(ast.parse(text))
        if not within(name, *allowed)
    ]


def only_tests_read_the_reference(path: PurePosixPath, text: str) -> list[str]:
    """roiops/__init__.py offers it, roiops/testing.py makes pieces of work with it."""
    if not is_python(path, "roiops", "detector") or path.is_relative_to("roiops/reference"):
        return []
    if str(path) in ("roiops/__init__.py", "roiops/testing.py"):
        return []
    return [
        f"{path} imports {name}: the specification must be free to change without the product"
        for name in imports(ast.parse(text))
        if within(name, "roiops.reference")
    ]


def roiops_ignores_the_detector(path: PurePosixPath, text: str) -> list[str]:
    if not is_python(path, "roiops"):
        return []
    return [
        f"{path} imports {name}"
        for name in imports(ast.parse(text))
        if within(name, "detector", "tests", "benchmarks")
    ]


def public_names() -> set[str]:
    lists = {
        ast.unparse(node.targets[0]): ast.literal_eval(node.value)
        for node in ast.parse((ROOT / "roiops/__init__.py").read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) != "__version__"
    }
    return {*lists["__all__"], *lists["_TORCH_MODULES"], "nn", "__version__"}


def detector_uses_public_roiops(path: PurePosixPath, text: str) -> list[str]:
    if not is_python(path, "detector"):
        return []
    tree, public = ast.parse(text), public_names()
    used = {name.removeprefix("roiops.").split(".")[0] for name in imports(tree)
            if name.startswith("roiops.")}  # fmt: skip
    used |= {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "roiops"
    }
    return [f"{path} uses roiops.{name}, which is not public" for name in sorted(used - public)]


def configuration_imports_no_detector(path: PurePosixPath, text: str) -> list[str]:
    if str(path) != "detector/config.py":
        return []
    return [
        f"{path} imports {name}: everything may import the configuration, so it imports nothing"
        for name in imports(ast.parse(text))
        if within(name, "detector", "roiops", "torch")
    ]


def models_ignore_data(path: PurePosixPath, text: str) -> list[str]:
    """A file of the detector that defines a torch module is a model."""
    if not is_python(path, "detector"):
        return []
    tree = ast.parse(text)
    bases = [b for n in ast.walk(tree) if isinstance(n, ast.ClassDef) for b in n.bases]
    if not any(ast.unparse(base).split(".")[-1] == "Module" for base in bases):
        return []
    rest = ("detector.data", "detector.train", "detector.evaluate", "detector.cli")
    return [
        f"{path} imports {name}: a model knows tensors, not where they come from"
        for name in imports(tree)
        if within(name, *rest)
    ]


def nothing_imports_tests_or_benchmarks(path: PurePosixPath, text: str) -> list[str]:
    if path.suffix != ".py" or str(path) == "tests/test_benchmarks.py":
        return []
    return [
        f"{path} imports {name}"
        for name in imports(ast.parse(text))
        if within(name, "tests", "benchmarks") and not path.is_relative_to(name.split(".")[0])
    ]


def names_say_something(path: PurePosixPath, text: str) -> list[str]:
    vague = {part.split(".")[0] for part in path.parts} & FORBIDDEN_STEMS
    return [f"{path}: '{name}' does not say what is in it" for name in sorted(vague)]


RULES: list[Rule] = [
    core_includes_std_and_itself,
    isa_files_share_no_code,
    public_headers_include_public_ones,
    cuda_headers_in_one_file,
    python_headers_in_the_binding,
    torch_headers_nowhere,
    streams_nowhere,
    roiops_needs_numpy_alone,
    reference_stands_alone,
    only_tests_read_the_reference,
    roiops_ignores_the_detector,
    detector_uses_public_roiops,
    configuration_imports_no_detector,
    models_ignore_data,
    nothing_imports_tests_or_benchmarks,
    names_say_something,
]


def source_files() -> list[Path]:
    suffixes = {".py", *CPP_SUFFIXES}
    found = [p for room in ROOMS for p in sorted((ROOT / room).rglob("*")) if p.suffix in suffixes]
    return found + sorted(ROOT.glob("*.py"))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule_holds(rule: Rule) -> None:
    files = source_files()
    assert len(files) > 50, "the rooms were not found"
    wrong = [
        problem
        for file in files
        for problem in rule(PurePosixPath(file.relative_to(ROOT).as_posix()), file.read_text())
    ]
    assert not wrong, "\n".join(wrong)


PLANTED: list[tuple[Rule, str, str]] = [
    (core_includes_std_and_itself, "cpp/nms.cpp", "#include <omp.h>\n"),
    (core_includes_std_and_itself, "cpp/nms.cpp", "#include <pthread.h>\n"),
    (core_includes_std_and_itself, "cpp/roiops/nms.h", '#include "../roiops/_binding/views.h"\n'),
    (core_includes_std_and_itself, "cpp/roiops/nms.h", "#  include <Eigen/Dense>\n"),
    (isa_files_share_no_code, "cpp/nms.isa.cpp", "#include <algorithm>\n"),
    (public_headers_include_public_ones, "cpp/roiops/nms.h", '#include "internal/simd.h"\n'),
    (isa_files_share_no_code, "cpp/nms.isa.cpp", '#include "roiops/check.h"\n'),
    (isa_files_share_no_code, "cpp/internal/nms_kernels.h", "#include <vector>\n"),
    (cuda_headers_in_one_file, "cuda/nms.cu", "#include <cuda_runtime.h>\n"),
    (cuda_headers_in_one_file, "cuda/nms.cu", "#include <cub/cub.cuh>\n"),
    (cuda_headers_in_one_file, "cpp/roiops/geometry.h", "#include <cuda_fp16.h>\n"),
    (python_headers_in_the_binding, "cpp/nms.cpp", "#include <pybind11/numpy.h>\n"),
    (python_headers_in_the_binding, "cuda/nms.cu", "#include <Python.h>\n"),
    (torch_headers_nowhere, "roiops/_binding/module.cpp", "#include <torch/extension.h>\n"),
    (streams_nowhere, "cpp/roiops/check.h", "#include <sstream>\n"),
    (torch_headers_nowhere, "cuda/nms.cu", "#include <ATen/cuda/CUDAContext.h>\n"),
    (roiops_needs_numpy_alone, "roiops/ops/nms.py", "import torch\n"),
    (roiops_needs_numpy_alone, "roiops/ops/nms.py", "def f():\n    from torch import nn\n"),
    (roiops_needs_numpy_alone, "roiops/_arrays.py", "from scipy import sparse\n"),
    (roiops_needs_numpy_alone, "roiops/_arrays.py", "import roiops._torch\n"),
    (roiops_needs_numpy_alone, "roiops/__init__.py", "try:\n    from roiops import nn\nfinally:\n"
     "    pass\n"),
    (roiops_needs_numpy_alone, "roiops/nn.py", "import torchvision\n"),
    (roiops_needs_numpy_alone, "roiops/ops/nms.py", "def f():\n    import onnxscript\n"),
    (roiops_needs_numpy_alone, "roiops/ops/nms.py", "from roiops.onnx.boxes import nms\n"),
    (roiops_needs_numpy_alone, "roiops/onnx/boxes.py", "def f():\n    import torch\n"),
    (roiops_needs_numpy_alone, "roiops/onnx/__init__.py", "import torch\n"),
    (roiops_needs_numpy_alone, "roiops/onnx/__init__.py", "def f():\n    import onnx\n"),
    (reference_stands_alone, "roiops/reference/nms.py", "from roiops import _cpu\n"),
    (reference_stands_alone, "roiops/reference/nms.py", "def f():\n    import roiops.ops.nms\n"),
    (only_tests_read_the_reference, "roiops/onnx/keypoints.py",
     "from roiops.reference.keypoints import LONGEST\n"),
    (only_tests_read_the_reference, "detector/rpn.py", "from roiops import reference\n"),
    (roiops_ignores_the_detector, "roiops/nn.py", "from detector.rpn import RPN\n"),
    (roiops_ignores_the_detector, "roiops/_check.py", "def f():\n    import tests.strategies\n"),
    (detector_uses_public_roiops, "detector/rpn.py", "from roiops._check import boxes\n"),
    (detector_uses_public_roiops, "detector/rpn.py", "import roiops\nroiops._cpu.nms(1)\n"),
    (detector_uses_public_roiops, "detector/rpn.py", "from roiops.ops.nms import nms\n"),
    (configuration_imports_no_detector, "detector/config.py", "from detector.rpn import RPN\n"),
    (configuration_imports_no_detector, "detector/config.py", "def f():\n    import torch\n"),
    (models_ignore_data, "detector/new_head.py", "from torch import nn\n"
     "from detector.data.coco import Sample\nclass Head(nn.Module): pass\n"),
    (nothing_imports_tests_or_benchmarks, "detector/rpn.py", "import tests.strategies\n"),
    (nothing_imports_tests_or_benchmarks, "tests/ops/test_nms.py", "from benchmarks import run\n"),
    (names_say_something, "roiops/utils.py", ""),
    (names_say_something, "detector/common/boxes.py", ""),
    (names_say_something, "cpp/roiops/helpers.h", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "path", "text"), PLANTED, ids=[f"{r.__name__}-{p}" for r, p, _ in PLANTED]
)
def test_rule_reports_a_planted_violation(rule: Rule, path: str, text: str) -> None:
    """Appended to the file that stands there now (or to none)."""
    file = ROOT / path
    before = file.read_text() if file.is_file() else ""
    known = set() if rule is names_say_something else set(rule(PurePosixPath(path), before))
    assert len(set(rule(PurePosixPath(path), before + "\n" + text)) - known) == 1


def test_every_rule_has_a_planted_violation() -> None:
    assert {rule for rule, _, _ in PLANTED} == set(RULES)


# --- what only a compiler or a fresh interpreter can tell ---------------------------------------


def shared_symbols(source: Path, folder: Path) -> list[str]:
    """Symbols a linker may take from ``source`` on behalf of other files, as `nm` prints them."""
    compiler = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))))
    target = folder / "probe.o"
    flags = ["-std=c++17", "-O3", "-fPIC", "-ffp-contract=off", f"-I{ROOT / 'cpp'}"]
    definitions = ["-DROIOPS_ISA=baseline", "-DROIOPS_VECTOR_BYTES=16"]
    subprocess.run(
        [compiler, *flags, *definitions, "-c", str(source), "-o", str(target)], check=True
    )
    listing = subprocess.run(
        ["nm", "-C", "--defined-only", str(target)], check=True, capture_output=True, text=True
    ).stdout
    assert "roiops::baseline::" in listing, "nothing was compiled"
    weak = re.compile(r"^\S+ [WVu] (?!.*\broiops::baseline::)(.*)$", re.MULTILINE)
    return weak.findall(listing)


@pytest.mark.parametrize("name", sorted(p.name for p in (ROOT / "cpp").glob("*.isa.cpp")))
def test_isa_file_defines_nothing_for_others(name: str, tmp_path: Path) -> None:
    """An inline function in such a file could be compiled with AVX-512 and picked for everybody."""
    assert shared_symbols(ROOT / "cpp" / name, tmp_path) == []


def test_shared_code_in_an_isa_file_is_seen(tmp_path: Path) -> None:
    source = tmp_path / "planted.isa.cpp"
    source.write_text(
        "#include <vector>\nnamespace roiops { namespace ROIOPS_ISA {\n"
        "void grow(std::vector<double>& v, double x) { v.push_back(x); v.push_back(x); } } }\n"
    )
    assert any("std::vector" in symbol for symbol in shared_symbols(source, tmp_path))


@pytest.mark.parametrize("module", ["roiops", "roiops.reference"])
def test_import_leaves_torch_alone(module: str) -> None:
    code = f"import {module}, sys; sys.exit('torch' in sys.modules or 'detector' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
