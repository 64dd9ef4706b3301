#!/usr/bin/env bash
# Run the operator tests against the wheel in dist/, once for each named setting:
#
#   tools/test_matrix.sh PYTHON numpy torch-2.13 torch-2.14
#
# The first two settings take lesser instruction sets; with the best of this machine the suite itself
# runs (make test).
#
# What is tested is the installed wheel: the tests are copied to a folder outside the source tree
# and run from there, and the run is refused if roiops comes from anywhere else.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD python=$1
shift
wheel=$(ls "$root"/dist/roiops-*.whl)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/tests"
cp -r tests/*.py tests/ops "$work/tests"

install() { # FOLDER CONSTRAINTS PACKAGE...
  local folder=$1 constraints=$2
  shift 2
  "$python" -m venv --clear "$folder"
  "$folder/bin/python" -m pip --disable-pip-version-check install --quiet \
    --constraint "$constraints" "$wheel" "$@"
}

for setting in "$@"; do
  folder=$root/.venv-matrix/$setting tests=("$work"/tests/ops)
  echo "=== wheel with $setting"
  case $setting in
    numpy)
      isa=baseline
      install "$folder" constraints/numpy.txt pytest hypothesis ml-dtypes
      ;;
    torch-2.13)
      isa=avx2
      # Here and below only what depends on the instruction set or on torch: with NumPy alone, above,
      # and in the suite (make test) all of it runs.
      tests=("$work"/tests/ops/test_{every_operator,half,instruction_sets,torch*,nn}.py)
      install "$folder" constraints/demo.txt torch pytest hypothesis ml-dtypes
      ;;
    torch-2.14)
      # The packages of the test environment (gigabytes: not a second time), but roiops from the
      # wheel: a path in a .pth file comes after the environment's own packages, and the editable
      # install there stays inactive, its own .pth files not being read.
      isa=
      tests=("$work"/tests/ops/test_{torch,nn,drop_in}.py)
      install "$folder" constraints/test.txt --no-deps
      packages=("$root"/.venv-test/lib/python*/site-packages)
      echo "${packages[0]}" >"$(echo "$folder"/lib/python*/site-packages)/test_environment.pth"
      ;;
    *)
      echo "unknown setting: $setting" >&2
      exit 2
      ;;
  esac
  cd "$work"
  export ROIOPS_ISA=$isa
  "$folder/bin/python" -c "import roiops; roiops.show_config()" 2>/dev/null ||
    unset ROIOPS_ISA # this machine does not have it
  "$folder/bin/python" -c '
import pathlib, sys
import roiops
home = pathlib.Path(roiops.__file__)
assert pathlib.Path(sys.prefix) in home.parents, f"not the installed wheel: {home}"
assert "torch" not in sys.modules, "importing roiops imported torch"
try:
    import torch
except ImportError:
    torch = None
print("roiops", roiops.__version__, "| NumPy", __import__("numpy").__version__,
      "| torch", torch and torch.__version__)
print(roiops.show_config())
wanted = sys.argv[1].partition("-")[2]
assert (torch.__version__ if torch else "").startswith(wanted) and bool(torch) == bool(wanted)
' "$setting"
  "$folder/bin/python" -m pytest -c "$root/pyproject.toml" --rootdir "$work" "${tests[@]}"
  cd "$root"
done
