// Which image and which level an RoI is of, and the errors where there is none such.
#pragma once

#include <cmath>
#include <stdexcept>
#include <string>

#include "roiops/check.h"
#include "roiops/config.h"

namespace roiops {

template <class T>
ROIOPS_INLINE bool is_image(T index, int64_t images) {
  return index >= T(0) && index < static_cast<T>(images) && index == std::floor(index);
}
ROIOPS_INLINE bool is_level(int64_t level, int64_t levels) { return level >= 0 && level < levels; }

[[noreturn]] inline void refuse_image(const std::string& op, int64_t k, int64_t images,
                                      double index) {
  throw std::out_of_range(message(op, ": boxes[", k,
                                  ", 0] (batch index) must be a whole number in [0, ", images,
                                  "); got ", index));
}
[[noreturn]] inline void refuse_level(const std::string& op, int64_t k, int64_t levels,
                                      int64_t level) {
  throw std::out_of_range(
      message(op, ": levels[", k, "] must be in [0, ", levels, "); got ", level));
}

}  // namespace roiops
