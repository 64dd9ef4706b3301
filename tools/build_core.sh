#!/usr/bin/env bash
# Bring the compiled modules beside the sources up to date, compiling only what changed.
#
#   tools/build_core.sh FOLDER      (a virtual environment made by tools/environment.sh)
#
# ROIOPS_CUDA=ON in the environment: with the kernels for GPUs, of the architectures in CUDAARCHS
# ("native", "90"; all of them take minutes). By default without: most machines that build have no GPU.
#
# setup.py builds from nothing every time (setuptools gives it a temporary folder); this drives the
# same CMakeLists.txt with a build folder that stays, FOLDER/cmake.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/$1/bin build=$PWD/$1/cmake

suffix=$("$bin/python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
modules=(roiops/_cpu$suffix) sources=(CMakeLists.txt cpp roiops/_binding)
cuda=${ROIOPS_CUDA:-OFF}
case $cuda in
  ON) modules+=(roiops/_cuda$suffix) sources+=(cuda) ;;
  OFF) rm -f "roiops/_cuda$suffix" ;; # of other sources, by now
  *)
    echo "ROIOPS_CUDA must be ON or OFF here; got '$cuda'" >&2
    exit 2
    ;;
esac
for module in "${modules[@]}"; do
  if [ ! -e "$module" ] || [ -n "$(find "${sources[@]}" -newer "$module")" ]; then
    stale=1
  fi
done
[ -n "${stale-}" ] || exit 0
mkdir -p "$build"
touch "$build/started"
"$bin/cmake" -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_MAKE_PROGRAM="$bin/ninja" -DPython_EXECUTABLE="$bin/python" \
  -Dpybind11_DIR="$("$bin/python" -m pybind11 --cmakedir)" -DROIOPS_CUDA="$cuda" >/dev/null
"$bin/cmake" --build "$build"
"$bin/cmake" --install "$build" --prefix . >/dev/null
# Its age is that of the sources read, also when the machine code came out the same, and so that a
# file saved during the build counts as newer.
touch -r "$build/started" "${modules[@]}"
