#!/usr/bin/env bash
# Make a virtual environment with roiops in it, editable, compiled through setup.py.
#
#   tools/environment.sh PYTHON FOLDER CONSTRAINTS [EXTRA]
#
# The build requirements are installed into the environment first and roiops is then built with
# them (no isolated build): one set of pinned versions holds for build and run alike, nothing is
# downloaded twice, and `make build` finds the same CMake, Ninja and pybind11 later.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1 folder=$2 constraints=$3 extra=${4:+[$4]}

fail() {
  printf '\n' >&2
  printf '%s\n' "$@" >&2
  exit 1
}

command -v "$python" >/dev/null || fail \
  "No '$python' here. Install Python 3.11 or newer, or name one: make demo PYTHON=/path/to/python3"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail \
  "$("$python" --version) is too old: roiops needs Python 3.11 or newer." \
  "Name another one: make demo PYTHON=python3.12"
"$python" -c 'import venv, ensurepip' 2>/dev/null || fail \
  "This Python has no venv module; on Debian and Ubuntu: apt install python3-venv"
"$python" - <<'P' || fail \
  "The headers of this Python are missing; on Debian and Ubuntu: apt install python3-dev"
import pathlib, sys, sysconfig
sys.exit(not (pathlib.Path(sysconfig.get_path("include")) / "Python.h").is_file())
P
command -v "${CXX:-c++}" >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null ||
  fail "No C++ compiler here; on Debian and Ubuntu: apt install g++"

# An environment of the same Python is brought up to date, another one is replaced.
[ "$("$folder/bin/python" --version 2>/dev/null)" = "$("$python" --version)" ] ||
  "$python" -m venv --clear "$folder"
pip=("$folder/bin/python" -m pip --disable-pip-version-check install --constraint "$constraints")

install() {
  "${pip[@]}" "$@" || fail \
    "pip failed; its own words are above. The first run needs the network (README says how much is" \
    "downloaded); proxies and mirrors are pip's settings (pip config, PIP_INDEX_URL). Then run the" \
    "same command again: what has been downloaded is not downloaded twice."
}
mapfile -t build_requirements < <("$folder/bin/python" -c '
import tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")')
echo "Preparing $folder (once): build tools ..."
install --quiet "${build_requirements[@]}"
echo "Preparing $folder (once): dependencies, and compiling the core ..."
export ROIOPS_CUDA=${ROIOPS_CUDA:-OFF}  # as tools/build_core.sh, which keeps what is built here fresh
install --no-build-isolation --editable ".$extra"
