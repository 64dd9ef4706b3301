// Where an operator runs: with how many threads on the CPU, or on which device and stream. The CPU
// library reads `threads`, the CUDA library all but that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

namespace roiops {

struct Execution {
  Execution(int threads = 1) : threads(threads) {}  // implicit: a number of threads is one

  int threads;
  int device = 0;
  void* stream = nullptr;  // a cudaStream_t
  // Gives device memory, aligned to 256 bytes, that belongs to the call: what the stream is asked
  // to do after it may use the memory again.
  std::function<void*(size_t bytes)> workspace;
  // Of device keys (rows, columns) the stable ascending order of each row, as positions in it; in
  // memory like `workspace`'s. The caller's library sorts.
  std::function<const int64_t*(const int64_t* keys, int64_t rows, int64_t columns)> order;
};

}  // namespace roiops
