// What this machine has of a GPU, without an error where it has none. No CUDA header: the binding
// reads it.
#pragma once

namespace roiops::cuda {

struct Device {
  int driver;        // CUDA version of the driver, as 1000 * major + 10 * minor; 0: no driver
  int runtime;       // that the kernels are compiled with
  int architecture;  // 10 * major + minor; 0: no such device
  bool runnable;     // the binary has kernels for it
};

// `device` is made the calling thread's while it is looked at.
Device look_at(int device);

}  // namespace roiops::cuda
