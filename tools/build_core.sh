#!/usr/bin/env bash
# Bring the compiled module beside the sources up to date, compiling only what changed.
#
#   tools/build_core.sh FOLDER      (a virtual environment made by tools/environment.sh)
#
# setup.py builds from nothing every time (setuptools gives it a temporary folder); this drives the
# same CMakeLists.txt with a build folder that stays, FOLDER/cmake.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/$1/bin build=$PWD/$1/cmake

module=roiops/_cpu$("$bin/python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
if [ -e "$module" ] && [ -z "$(find CMakeLists.txt cpp roiops/_binding -newer "$module")" ]; then
  exit 0
fi
mkdir -p "$build"
touch "$build/started"
"$bin/cmake" -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_MAKE_PROGRAM="$bin/ninja" -DPython_EXECUTABLE="$bin/python" \
  -Dpybind11_DIR="$("$bin/python" -m pybind11 --cmakedir)" >/dev/null
"$bin/cmake" --build "$build"
"$bin/cmake" --install "$build" --prefix . >/dev/null
# Its age is that of the sources read, also when the machine code came out the same, and so that a
# file saved during the build counts as newer.
touch -r "$build/started" "$module"
