# The Python module _cuda: kernels and binding, with CUDA's runtime inside. It needs no library of
# CUDA's to be imported, and no driver.
# What was asked for; CMake tries the compiler with another, so that it does not call a wrong name a
# missing compiler, and does not keep this one for the next time.
set(architectures_asked ${CMAKE_CUDA_ARCHITECTURES})
if(DEFINED ENV{CUDAARCHS})
  set(architectures_asked $ENV{CUDAARCHS})
  unset(ENV{CUDAARCHS})
endif()
set(CMAKE_CUDA_ARCHITECTURES 80)

if(NOT DEFINED CMAKE_CUDA_COMPILER)
  include(CheckLanguage)
  check_language(CUDA)
endif()
if(NOT CMAKE_CUDA_COMPILER)
  set(reason "no working nvcc (on the PATH, or CUDACXX='$ENV{CUDACXX}')")
  if(ROIOPS_CUDA STREQUAL "ON")
    message(FATAL_ERROR "ROIOPS_CUDA=ON: ${reason}")
  endif()
  message(STATUS "roiops without kernels for GPUs: ${reason}")
  return()
endif()
enable_language(CUDA)
set(architectures ${architectures_asked})
# By default machine code for what is in use, and PTX of the newest for what comes after it.
if(NOT architectures)
  set(architectures 75-real 80-real 86-real 89-real 90)
  if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.8)
    set(architectures 75-real 80-real 86-real 89-real 90-real 100-real 120)
  endif()
endif()
message(STATUS "roiops with kernels for the architectures ${architectures}")

file(GLOB kernel_sources CONFIGURE_DEPENDS cuda/*.cu)
pybind11_add_module(_cuda NO_EXTRAS ${binding_sources} ${kernel_sources})
list(JOIN architectures ", " listed)
target_compile_definitions(
  _cuda PRIVATE ROIOPS_MODULE=_cuda ROIOPS_CUDA "ROIOPS_CUDA_ARCHITECTURES=\"${listed}\"")
target_include_directories(_cuda PRIVATE cpp cuda)
set_target_properties(
  _cuda PROPERTIES CUDA_ARCHITECTURES "${architectures}" CUDA_RUNTIME_LIBRARY Static
                   CUDA_STANDARD 17 CUDA_STANDARD_REQUIRED ON)
# As on the CPU: no contraction, because kernels decide.
set(kernel_options --fmad=false -Xcompiler=-ffp-contract=off)
if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.8)
  list(APPEND kernel_options --compress-mode=size)
endif()
target_compile_options(
  _cuda PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:${kernel_options}>"
                "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wno-psabi;-ffp-contract=off>")
# Hidden: another runtime in the process, torch's, must not answer for ours.
target_link_options(_cuda PRIVATE -s -Wl,--exclude-libs,ALL)
install(TARGETS _cuda LIBRARY DESTINATION roiops)
