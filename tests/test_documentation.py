"""What the documentation shows is what happens: examples run, links lead somewhere, pictures are
what their code draws. (That the pages can be built, `make docs` says.)"""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from backends import ABOUT_THE_MACHINE

import roiops
from roiops._operators import OPERATORS

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
PACKAGES = {"onnx", "reference"}  # among the public names
PUBLIC = {*roiops.__all__, *roiops._TORCH_MODULES} - PACKAGES
MODULES = sorted(m.name for m in pkgutil.walk_packages(roiops.__path__, "roiops."))


def failures(examples: doctest.DocTest) -> list[str]:
    report: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(examples, out=report.append)
    return report


@pytest.mark.parametrize("name", ["roiops", *MODULES])
def test_docstring_examples(name: str) -> None:
    for test in doctest.DocTestFinder().find(importlib.import_module(name)):
        assert failures(test) == [], "".join(failures(test))


def test_every_operator_has_an_example() -> None:
    without = {
        name
        for name in PUBLIC
        if callable(function := getattr(roiops, name))
        and not name.endswith("_backward")  # for those without autograd
        and not any(test.examples for test in doctest.DocTestFinder().find(function))
    }
    assert without <= ABOUT_THE_MACHINE


def test_readme_names_every_operator() -> None:
    text = (ROOT / "README.md").read_text()
    names = PUBLIC - ABOUT_THE_MACHINE
    assert {n for n in names if not n.endswith("_backward") and f"`{n}`" not in text} == set()


def test_onnx_page_names_every_operator() -> None:
    text = (ROOT / "docs/onnx.md").read_text()
    gradients = {name for name, why in roiops.onnx.UNSUPPORTED.items() if "gradient" in why}
    assert {name for name in OPERATORS if f"`{name}`" not in text} <= gradients


every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@every_page
def test_page_examples(page: Path) -> None:
    """```pycon blocks of a page, in order, as one session."""
    blocks = re.findall(r"^```pycon\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    test = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, page.name, str(page), 0)
    assert len(blocks) >= (2 if page.name == "README.md" else 0)
    assert failures(test) == []


@every_page
def test_page_links(page: Path) -> None:
    """Links and pictures that lead into the repository, and files named in backquotes."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in link:
            assert (page.parent / link).exists(), link
    rooms = "cpp|roiops|detector|benchmarks|tests|tools|docs|constraints"
    for name in re.findall(rf"`((?:{rooms})/[\w./-]+)`", text):
        assert "NAME" in name or (ROOT / name).exists(), name


def reference_entries(text: str) -> list[str]:
    """The public names whose docstring a page includes."""
    return re.findall(r"^\.\. auto(?:function|class|data):: roiops\.([\w.]+)$", text, re.MULTILINE)


def test_one_page_has_each_public_name() -> None:
    entries = [name for page in PAGES for name in reference_entries(page.read_text())]
    assert Counter(entries) == Counter(PUBLIC | {f"onnx.{name}" for name in roiops.onnx.__all__})


def test_pictures_are_what_their_code_draws(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    subprocess.run([sys.executable, DOCS / "pictures", tmp_path], check=True)
    drawn, committed = (
        {path.name: path.read_text() for path in folder.glob("*.svg")}
        for folder in (tmp_path, DOCS / "pictures")
    )
    assert drawn.keys() == committed.keys()
    assert [name for name in drawn if drawn[name] != committed[name]] == []  # make docs
    shown = {
        Path(link).name
        for page in PAGES
        for link in re.findall(r"!\[.*\]\((.+)\)", page.read_text())
    }
    assert drawn.keys() <= shown


def test_wrong_examples_and_links_are_seen(tmp_path: Path) -> None:
    test = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "planted", None, 0)
    assert failures(test)
    page = tmp_path / "planted.md"
    page.write_text("See [there](missing.md).\n")
    with pytest.raises(AssertionError, match="missing"):
        test_page_links(page)
