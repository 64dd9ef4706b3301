// Whether the kernels can run on a device: asked once for each, before the first of them.
#include "compat.cuh"
#include "device.h"

namespace roiops::cuda {
namespace {

// Compiled for the architectures of all kernels.
__global__ void probe() {}

}  // namespace

Device look_at(int device) {
  Device found{0, CUDART_VERSION, 0, false};
  int before = 0, major = 0, minor = 0;
  cudaDriverGetVersion(&found.driver);
  if (cudaGetDevice(&before) == cudaSuccess &&
      cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
      cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) == cudaSuccess) {
    found.architecture = 10 * major + minor;
    if (cudaSetDevice(device) == cudaSuccess) {
      cudaFuncAttributes attributes;
      found.runnable = cudaFuncGetAttributes(&attributes, probe) == cudaSuccess;
      cudaSetDevice(before);
    }
  }
  (void)cudaGetLastError();  // nobody shall find ours
  return found;
}

}  // namespace roiops::cuda
