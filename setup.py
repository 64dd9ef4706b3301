"""Build entry. Metadata is in pyproject.toml; the compiled module comes from CMakeLists.txt."""

from scikit_build_core.setuptools.wrapper import setup

setup(cmake_source_dir=".")
