"""Sphinx: `make docs`. Pages are Markdown that also reads well on a git host."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

import roiops

project = "roiops"
version = release = roiops.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3  # links to headings, as a git host makes them

autodoc_typehints = "none"  # the docstrings say shapes and dtypes
napoleon_use_rtype = False
add_module_names = False
nitpicky = True

html_theme = "furo"
html_title = f"roiops {version}"
html_show_copyright = False
html_show_sourcelink = False
html_copy_source = False


# Formulas become MathML when the pages are built: nothing is fetched when they are read.


def inline_formula(writer: Any, node: nodes.math) -> None:
    writer.body.append(convert(node.astext()))
    raise nodes.SkipNode


def displayed_formula(writer: Any, node: nodes.math_block) -> None:
    formula = convert(node.astext(), display="block")
    writer.body.append(f'<div class="formula">{formula}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    app.add_html_math_renderer(
        "mathml", inline_renderers=(inline_formula, None), block_renderers=(displayed_formula, None)
    )
