"""What nvcc's assembler says of each kernel, and what stands in the machine code it makes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tools.cuda_report.occupancy import occupancy

ROOT = Path(__file__).resolve().parents[2]
THREADS = (
    256  # of a block, where no launch bounds say another number (cuda/bin_tiles.cuh, each.cuh)
)


def architectures(cmake: str) -> list[int]:
    """Those that a build has by default with the newest nvcc, from cuda/module.cmake."""
    lists = re.findall(r"set\(architectures ((?:\d+(?:-real)? ?)+)\)", cmake)
    return max(([int(n) for n in re.findall(r"\d+", one)] for one in lists), key=len)


# --- what the assembler says ----------------------------------------------------------------------


@dataclass(frozen=True)
class Usage:
    """Bytes but for the registers. Spills: stores and loads together."""

    registers: int = 0
    stack: int = 0
    spills: int = 0
    shared: int = 0


def usage(said: str) -> dict[str, Usage]:
    """By mangled name, from what ``-Xptxas=-v`` prints. Functions that a kernel calls add to it."""
    found: dict[str, Usage] = {}
    for part in said.split("Compiling entry function '")[1:]:
        kernel, _, text = part.partition("'")
        frames = re.findall(
            r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", text
        )
        registers = re.search(r"Used (\d+) registers", text)
        if not frames or not registers:
            raise ValueError(f"ptxas no longer says what it spills:\n{text}")
        shared = re.search(r"(\d+) bytes smem", text)
        found[kernel] = Usage(
            registers=int(registers[1]),
            stack=sum(int(stack) for stack, _, _ in frames),
            spills=sum(int(stores) + int(loads) for _, stores, loads in frames),
            shared=int(shared[1]) if shared else 0,
        )
    return found


# --- what stands in the machine code --------------------------------------------------------------


@dataclass(frozen=True)
class Code:
    """Instructions of a kernel: all by their names, calls by what they call."""

    instructions: Counter[str]
    calls: Counter[str]
    threads: int | None = None  # of its launch bounds

    def count(self, pattern: str) -> int:
        matches = re.compile(pattern).match
        return sum(n for name, n in self.instructions.items() if matches(name))


WIDE_LOADS = r"LDG?\.E\.(.*\.)?128"
WIDE_STORES = r"STG?\.E\.(.*\.)?128"
GENERIC = r"(LD|ST)\."  # loads and stores that find out at run time what memory an address is
LOCAL = r"(LDL|STL)\b"
FLOAT_ATOMICS = r"(REDG?|ATOM[GS]?)\.(.*\.)?B?F\d+"

INSTRUCTION = re.compile(r"\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z]\w*(?:\.\w+)*)(.*)")
CALLED = re.compile(r"\(\$?(?:__internal_\d+_\$)?([\w$.]+)\)")
SECTION = re.compile(r"^\t\.section\t\.(text|nv\.info)\.(\w+),", re.MULTILINE)
THREADS_AT_MOST = re.compile(r"EIATTR_MAX_THREADS.*?\.word\s+0x(\w+)", re.DOTALL)


def code(disassembly: str) -> dict[str, Code]:
    """By mangled name, from what nvdisasm prints."""
    instructions: dict[str, Counter[str]] = {}
    calls: dict[str, Counter[str]] = {}
    bounds: dict[str, int] = {}
    _, *parts = SECTION.split(disassembly)
    for kind, name, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        if kind == "nv.info":
            if bound := THREADS_AT_MOST.search(text):
                bounds[name] = int(bound[1], 16)
            continue
        found = [match.groups() for line in text.splitlines() if (match := INSTRUCTION.match(line))]
        instructions[name] = Counter(opcode for opcode, _ in found)
        called = (CALLED.search(operands) for opcode, operands in found if opcode[:4] == "CALL")
        calls[name] = Counter(match[1] for match in called if match)
    return {name: Code(instructions[name], calls[name], bounds.get(name)) for name in instructions}


SLOW_PATHS = {
    r"div_\w*f32": "float32 division",
    r"div_\w*f64": "float64 division",
    r"(dbl|d)?rcp": "reciprocal",
    r"d?sqrt": "square root",
    r"(div|rem)_[su]64": "int64 division",
    r"(shfl|vote|warp|match)\w*sync": "warp function",
}


def slow_path(called: str) -> str:
    """What a subroutine of the compiler's is for, such as `__cuda_sm20_div_s64`."""
    name = re.sub(r"^__cuda_sm\w+?_", "", called)
    return next((what for begin, what in SLOW_PATHS.items() if re.match(begin, name)), "other")


# --- kernels --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kernel:
    """An instantiation of a kernel for an architecture."""

    source: str
    name: str
    types: tuple[str, ...]
    architecture: int
    usage: Usage
    code: Code

    @property
    def occupancy(self) -> float:
        threads = self.code.threads or THREADS
        return occupancy(self.architecture, threads, self.usage.registers, self.usage.shared)

    @property
    def slow_paths(self) -> Counter[str]:
        sums: Counter[str] = Counter()
        for called, count in self.code.calls.items():
            sums[slow_path(called)] += count
        return sums

    @property
    def wrong(self) -> list[str]:
        """What no kernel may do."""
        who = f"{self.source}: {self.name}<{', '.join(self.types)}> for sm_{self.architecture}"
        atomics = self.code.count(FLOAT_ATOMICS)
        return [
            *([f"{who} spills {self.usage.spills} bytes"] if self.usage.spills else []),
            *([f"{who} has {atomics} atomics on floating-point numbers"] if atomics else []),
        ]


TYPE_NAMES = {
    "float": "float32", "double": "float64", "Float16": "float16", "BFloat16": "bfloat16",
    "long": "int64", "int": "int32", "unsigned char": "uint8", "signed char": "int8",
}  # fmt: skip


def readable(demangled: str) -> tuple[str, tuple[str, ...]]:
    """A kernel's name and its types. That of `for_each` is its functor's."""
    text = re.sub(r"roiops::|cuda::|\(anonymous namespace\)::|\bconst\b", "", demangled)
    head, arguments = _name_and_arguments(text.removeprefix("void ").strip())
    if head == "for_each_thread" and len(arguments) == 1:
        head, arguments = _name_and_arguments(arguments[0])
    return head, tuple(TYPE_NAMES.get(a, a) for a in arguments)


def _name_and_arguments(text: str) -> tuple[str, list[str]]:
    """`name<a, b<c> >(...)`: name; a, b<c>."""
    head = re.match(r"[\w:~]+", text)
    if not head or text[head.end() :][:1] != "<":
        return (head[0] if head else text), []
    arguments, depth, begin = [], 0, head.end() + 1
    for i, character in enumerate(text):
        if character in "<({":
            depth += 1
        elif character in ">)}":
            depth -= 1
        if (depth == 0 and character == ">") or (depth == 1 and character == ","):
            arguments.append(text[begin:i].strip())
            begin = i + 1
        if depth == 0 and character == ">":
            break
    return head[0], arguments


def demangled(names: list[str]) -> list[str]:
    done = subprocess.run(
        ["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def disassembler() -> str:
    """On the PATH, or where the package nvidia-cuda-nvdisasm puts it."""
    beside = (folder for path in sys.path for folder in Path(path).glob("nvidia/cu*/bin"))
    found = shutil.which("nvdisasm") or next(
        (tool for folder in beside if (tool := shutil.which("nvdisasm", path=str(folder)))), None
    )
    if not found:
        raise FileNotFoundError("there is no nvdisasm: pip install nvidia-cuda-nvdisasm")
    return found


def kernels(source: Path, architecture: int) -> list[Kernel]:
    """Those of a file, compiled as cuda/module.cmake does."""
    with tempfile.TemporaryDirectory() as folder:
        binary = f"{folder}/kernels.cubin"
        compiled = subprocess.run(
            ["nvcc", "-std=c++17", "-cubin", f"-arch=sm_{architecture}", "--fmad=false",
             "-Xptxas=-v", f"-I{ROOT / 'cuda'}", f"-I{ROOT / 'cpp'}", str(source), "-o", binary],
            capture_output=True, text=True,
        )  # fmt: skip
        if compiled.returncode:
            raise RuntimeError(compiled.stderr)
        listing = subprocess.run(
            [disassembler(), binary], capture_output=True, text=True, check=True
        )
    used, codes = usage(compiled.stderr), code(listing.stdout)
    names = sorted(used)
    return [
        Kernel(source.stem, *readable(plain), architecture, used[name], codes[name])
        for name, plain in zip(names, demangled(names), strict=True)
    ]
