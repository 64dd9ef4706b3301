"""Public functions are typed, and the stub of the compiled module says what the binding says."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

import roiops
from roiops import _cpu

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path(roiops.__file__).parent

# What the stub calls a C++ parameter's type. An optional array is an object to the binding.
TYPES = {
    "const py::object&": {"Described", "Described | None"},
    "const py::sequence&": {"Sequence[Described]"},
    "int64_t": {"int"},
    "int": {"int"},
    "const Execution&": {"Execution"},
    "double": {"float"},
    "bool": {"bool"},
    "const std::string&": {"str"},
    "std::vector<double>": {"Sequence[float]"},
    "const std::vector<double>&": {"Sequence[float]"},
    "const std::array<double, 4>&": {"Sequence[float]"},
    "std::optional<double>": {"float | None"},
    "const std::optional<std::array<double, 2>>&": {"Sequence[float] | None"},
}


def bound_functions() -> dict[str, list[tuple[str, str]]]:
    """(type, name) of the parameters of each function that the binding defines as a lambda."""
    text = "".join(path.read_text() for path in sorted((ROOT / "roiops/_binding").glob("*.cpp")))
    found = re.findall(r'm\.def\(\s*"(\w+)",\s*\[\]\s*(?:\(([^)]*)\))?', text)
    assert len(found) > 10, "the binding was not understood"
    functions = {}
    for name, parameters in found:
        parts = re.split(r",(?![^<]*>)", re.sub(r"\s+", " ", parameters))
        pairs = [part.strip().rsplit(" ", 1) for part in parts if part.strip()]
        functions[name] = [(kind, parameter) for kind, parameter in pairs]
    return functions


def stub_functions() -> dict[str, ast.FunctionDef]:
    tree = ast.parse((PACKAGE / "_cpu.pyi").read_text())
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_stub_names_every_function() -> None:
    compiled = {name for name in dir(_cpu) if callable(getattr(_cpu, name))}
    assert set(stub_functions()) == compiled


def test_stub_parameters_are_those_of_the_binding() -> None:
    stub = stub_functions()
    for name, parameters in bound_functions().items():
        if name not in stub:  # of the other module alone: the test above
            continue
        arguments = stub[name].args
        assert not [*arguments.args, *arguments.kwonlyargs], f"{name}: positional only"
        assert [a.arg for a in arguments.posonlyargs] == [p for _, p in parameters], name
        for argument, (kind, _) in zip(arguments.posonlyargs, parameters, strict=True):
            assert argument.annotation is not None
            assert ast.unparse(argument.annotation) in TYPES[kind], f"{name}: {argument.arg}"


@pytest.mark.parametrize("name", roiops.__all__)
def test_public_function_is_typed(name: str) -> None:
    function = getattr(roiops, name)
    if inspect.isfunction(function):
        signature = inspect.signature(function)
        assert signature.return_annotation is not inspect.Signature.empty
        for parameter in signature.parameters.values():
            assert parameter.annotation is not inspect.Parameter.empty, parameter.name


def test_types_are_shipped() -> None:
    assert (PACKAGE / "py.typed").is_file()
