"""What `make cuda-report` reads out of compilers' words, on words that are stored here."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tools.cuda_report import __main__ as command
from tools.cuda_report import compiled, page
from tools.cuda_report.compiled import Kernel
from tools.cuda_report.occupancy import MULTIPROCESSORS, occupancy

ROOT = Path(__file__).resolve().parent.parent

# ptxas 13.0, of a kernel that calls a function and of one that spills.
SAID = """\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_Z4goodf' for 'sm_90'
ptxas info    : Function properties for _Z4goodf
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 22 registers, used 1 barriers, 7168 bytes smem, 488 bytes cmem[0]
ptxas info    : Compile time = 11.067 ms
ptxas info    : Compiling entry function '_Z3badf' for 'sm_90'
ptxas info    : Function properties for _Z3badf
    256 bytes stack frame, 12 bytes spill stores, 0 bytes spill loads
ptxas info    : Function properties for _Z6calledf
    8 bytes stack frame, 0 bytes spill stores, 4 bytes spill loads
ptxas info    : Used 168 registers, used 0 barriers, 264 bytes cumulative stack size
ptxas info    : Compile time = 9.268 ms
"""

# nvdisasm 13.5, of binaries for sm_90; the last three instructions are sm_75's and sm_80's. (Names
# of subroutines are shortened.)
DISASSEMBLED = """\
	.section	.nv.info,"",@"SHT_CUDA_INFO"
	.align	4
	.section	.nv.info._Z4goodf,"",@"SHT_CUDA_INFO"
	//----- nvinfo : EIATTR_MAX_THREADS
	.align		4
.L_43:
        /*004c*/ 	.byte	0x04, 0x05
        /*004e*/ 	.short	(.L_45 - .L_44)
.L_44:
        /*0050*/ 	.word	0x00000080
        /*0054*/ 	.word	0x00000001
	.section	.nv.info._Z3badf,"",@"SHT_CUDA_INFO"
	.section	.text._Z4goodf,"ax",@progbits
	.align	128
_Z4goodf:
.text._Z4goodf:
        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0010*/              @!P0 LDG.E.128.CONSTANT R68, desc[UR4][R68.64] ;
        /*0020*/                   LDG.E R4, desc[UR4][R2.64] ;
        /*0030*/                   STG.E.128 desc[UR4][R6.64+0x90], R68 ;
        /*0040*/                   REDG.E.MIN.64.STRONG.GPU desc[UR4][R12.64], R14 ;
        /*0050*/                   ATOMS.ADD R4, [R2], R3 ;
        /*0060*/                   REDUX.SUM UR4, R3 ;
        /*0070*/                   LDS.128 R4, [R2] ;
.L_x_1:
	.section	.text._Z3badf,"ax",@progbits
_Z3badf:
        /*0000*/                   STL.128 [R1+0x10], R8 ;
        /*0010*/              @UP0 LDL R5, [R0] ;
        /*0020*/                   LD.E.64 R5, desc[UR4][R2.64] ;
        /*0030*/                   CALL.REL.NOINC `($__internal_3_$__cuda_sm3x_div_rn_noftz_f32) ;
        /*0040*/                   CALL.REL.NOINC `($__internal_2_$__cuda_sm20_rem_s64) ;
        /*0050*/                   CALL.REL.NOINC `($__internal_0_$__cuda_sm20_div_s64) ;
        /*0060*/                   CALL.REL.NOINC `($__internal_1_$__cuda_sm20_dblrcp_rn) ;
        /*0070*/                   CALL.REL.NOINC `(.L_x_179) ;
        /*0080*/                   REDG.E.ADD.F32.FTZ.RN.STRONG.GPU desc[UR4][R16.64], R77 ;
        /*0090*/                   RED.E.ADD.F64.RN.STRONG.GPU [UR6], R4 ;
        /*00a0*/               @P0 ATOMG.E.ADD.F16x2.RN.STRONG.GPU PT, R3, [R2], R5 ;
        /*00b0*/                   LDG.E.128.SYS R4, [R4] ;
"""


@pytest.fixture(scope="module")
def kernels() -> dict[str, Kernel]:
    usage, code = compiled.usage(SAID), compiled.code(DISASSEMBLED)
    assert usage.keys() == code.keys()
    return {
        name: Kernel("file", name[3:-1], ("float32",), 90, usage[name], code[name])
        for name in usage
    }


def test_registers_and_memory_are_read(kernels: dict[str, Kernel]) -> None:
    good, bad = kernels["_Z4goodf"].usage, kernels["_Z3badf"].usage
    assert (good.registers, good.stack, good.spills, good.shared) == (22, 0, 0, 7168)
    assert (bad.registers, bad.stack, bad.spills, bad.shared) == (168, 264, 16, 0)


def test_other_words_are_not_taken_for_no_spills() -> None:
    with pytest.raises(ValueError, match="no longer says"):
        compiled.usage(SAID.replace("spill stores", "spilled"))


def test_instructions_are_counted(kernels: dict[str, Kernel]) -> None:
    good, bad = kernels["_Z4goodf"].code, kernels["_Z3badf"].code
    expected = {
        compiled.WIDE_LOADS: (1, 1),
        compiled.WIDE_STORES: (1, 0),
        compiled.LOCAL: (0, 2),
        compiled.GENERIC: (0, 1),
        compiled.FLOAT_ATOMICS: (0, 3),
    }
    assert {p: (good.count(p), bad.count(p)) for p in expected} == expected
    assert sum(good.instructions.values()) == 8
    assert (good.threads, bad.threads) == (128, None)
    assert kernels["_Z3badf"].slow_paths == {
        "float32 division": 1, "int64 division": 2, "reciprocal": 1, "other": 1,
    }  # fmt: skip


def test_what_no_kernel_may_do_is_named(kernels: dict[str, Kernel]) -> None:
    assert kernels["_Z4goodf"].wrong == []
    assert kernels["_Z3badf"].wrong == [
        "file: bad<float32> for sm_90 spills 16 bytes",
        "file: bad<float32> for sm_90 has 3 atomics on floating-point numbers",
    ]


def test_a_number_or_flag_makes_another_kernel_of_it(kernels: dict[str, Kernel]) -> None:
    every = [
        dataclasses.replace(kernels["_Z4goodf"], types=types)
        for types in (("float32", "4", "true"), ("float32", "1", "false"), ("float64", "4", "true"))
    ]
    assert [(name, types) for name, types, _ in page.shown(every)] == [
        ("file good<4, true>", "float32"),
        ("file good<1, false>", "float32"),
    ]


@pytest.mark.parametrize(("name", "status"), [("_Z4goodf", 0), ("_Z3badf", 1)])
def test_command_fails_by_it(
    kernels: dict[str, Kernel], name: str, status: int, tmp_path: Path, monkeypatch, capsys
) -> None:
    file = tmp_path / "cuda.md"
    file.write_text(command.PAGE.read_text())
    built = [
        dataclasses.replace(kernels[name], architecture=architecture)
        for architecture in MULTIPROCESSORS
    ]
    monkeypatch.setattr(command, "PAGE", file)
    monkeypatch.setattr(command, "compile_all", lambda names, architectures: built)
    monkeypatch.setattr(command, "count_traffic", lambda names: [])
    monkeypatch.setattr(command, "version", lambda tool: "13.0")
    monkeypatch.setattr(compiled, "disassembler", lambda: "nvdisasm")
    assert command.main([]) == status
    assert f"| file {kernels[name].name} | float32 |" in file.read_text()
    assert ("bad<float32> for sm_120 spills 16 bytes" in capsys.readouterr().out) == bool(status)


def test_tables_say_it_in_bold(kernels: dict[str, Kernel]) -> None:
    *_, good, bad = page.resources(list(kernels.values()), [90])
    assert good == "| file good | float32 | 0 | 0 | 7168 | 22, 100% |"
    assert bad == "| file bad | float32 | **16** | **264** | 0 | 168, 12% |"
    *_, good, bad = page.machine_code(list(kernels.values()))
    assert good == "| file good | float32 | 8 | 1 | 1 | 0 | 0 | 0 |  |"
    assert "| **2** | **1** | **3** | float32 division 1, int64 division 2" in bad


NAMES = {
    "void roiops::cuda::(anonymous namespace)::mean_forward<roiops::Float16, float, double>"
    "(roiops::cuda::Regions<double>, roiops::cuda::Pyramid<roiops::Float16 const>, long)":
        ("mean_forward", ("float16", "float32", "float64")),
    "void roiops::cuda::for_each_thread<roiops::cuda::(anonymous namespace)::Level<float> >"
    "(long, roiops::cuda::(anonymous namespace)::Level<float>)": ("Level", ("float32",)),
    "void roiops::cuda::for_each_thread<roiops::cuda::SetTo>(long, roiops::cuda::SetTo)":
        ("SetTo", ()),
    "void roiops::cuda::f<roiops::Pair<int, long>, (roiops::Kind)1>(int)":
        ("f", ("Pair<int, long>", "(Kind)1")),
    "roiops::cuda::(anonymous namespace)::pad(long const*, roiops::cuda::Kept, long*, long)":
        ("pad", ()),
}  # fmt: skip


@pytest.mark.parametrize("demangled", NAMES)
def test_names_are_short(demangled: str) -> None:
    assert compiled.readable(demangled) == NAMES[demangled]


# As NVIDIA's occupancy calculator has them: by warps, registers, shared memory, blocks.
@pytest.mark.parametrize(
    ("architecture", "threads", "registers", "shared", "expected"),
    [
        (80, 256, 32, 0, 1.0),
        (86, 256, 40, 0, 1.0),
        (80, 256, 40, 0, 0.75),
        (90, 256, 41, 0, 0.625),
        (90, 256, 255, 0, 0.125),
        (75, 256, 255, 0, 0.25),
        (80, 256, 32, 48 << 10, 3 / 8),
        (90, 256, 32, 48 << 10, 4 / 8),
        (75, 256, 32, 48 << 10, 1 / 4),
        (86, 32, 16, 0, 16 / 48),
        (80, 1024, 64, 0, 0.5),
        (80, 1024, 80, 0, 0.0),
    ],
)
def test_occupancy(
    architecture: int, threads: int, registers: int, shared: int, expected: float
) -> None:
    assert occupancy(architecture, threads, registers, shared) == expected


def test_architectures_are_those_of_the_build() -> None:
    built = compiled.architectures((ROOT / "cuda" / "module.cmake").read_text())
    assert built == sorted(MULTIPROCESSORS)


def test_page_is_written_between_its_marks(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    begin, end = "<!-- begin: traffic, by make cuda-report -->\n", "<!-- end -->\n"
    file.write_text(f"before\n{begin}old\n{end}after\n{end}")
    page.write(file, {"traffic": ["| new |"]})
    assert file.read_text() == f"before\n{begin}| new |\n{end}after\n{end}"
    with pytest.raises(ValueError, match="resources"):
        page.write(file, {"resources": ["| new |"]})


def test_what_misses_an_aim_is_bold() -> None:
    case = {
        "case": "planted", "unit": "RoI", "units": 2, "channels_last": True,
        "sectors loaded": 300, "distinct loaded": 100, "floor loaded": 50, "useful loaded": 4800,
        "sectors stored": 10, "floor stored": 10, "useful stored": 320,
    }  # fmt: skip
    *_, row = page.traffic([case])
    assert row == "| planted | RoI | 4,800 | 1,600 | 800 | **3.00** | **50%** | 160 | 160 | 100% |"
    *_, row = page.traffic([{**case, "channels_last": False, "distinct loaded": 150,
                             "useful stored": 100}])  # fmt: skip
    assert row.endswith("| 2.00 | 50% | 160 | 160 | **31%** |")
