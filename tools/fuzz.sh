#!/usr/bin/env bash
# Build the core and cpp/fuzz with sanitizers and throw random cases at it.
#
#   tools/fuzz.sh FOLDER SANITIZERS [CASES [FIRST]]     (FOLDER: a virtual environment with CMake)
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/$1/bin build=$PWD/$1/cmake-$2
"$bin/cmake" -S . -B "$build" -G Ninja -DCMAKE_MAKE_PROGRAM="$bin/ninja" \
  -DROIOPS_PYTHON=OFF -DROIOPS_SANITIZE="$2" >/dev/null
"$bin/cmake" --build "$build" --target roiops_fuzz >/dev/null
"$build/roiops_fuzz" "${@:3}"
