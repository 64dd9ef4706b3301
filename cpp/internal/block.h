// How kernels see 16 channels of a map: the map itself where they lie side by side (channels_last),
// else a scratch copy [rows][cols][16].
#pragma once

#include <cstdint>

namespace roiops {

template <class Cell>
struct Block {
  Cell* data;
  int64_t row, cell;  // strides in elements
};

}  // namespace roiops
