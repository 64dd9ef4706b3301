// Errors of the core. The Python layer checks its arguments with messages for people before it
// allocates anything; the checks here keep a C++ caller's mistake from becoming a wild access.
#pragma once

#include <cstdio>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "roiops/array.h"

namespace roiops {

struct TypeError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

// Text and numbers, one after the other. No streams: a compiler that links its C++ library into the
// module leaves two of them in a process that has loaded another, and a stream of one looks for its
// locale in the other: a message with a number in it was a segmentation fault.
template <class Part>
void append(std::string& text, const Part& part) {
  if constexpr (std::is_floating_point_v<Part>) {
    char number[32];
    std::snprintf(number, sizeof number, "%g", static_cast<double>(part));
    text += number;
  } else if constexpr (std::is_arithmetic_v<Part>) {
    text += std::to_string(part);
  } else {
    text += part;
  }
}

template <class... Parts>
std::string message(const Parts&... parts) {
  std::string text;
  (append(text, parts), ...);
  return text;
}

inline std::string shape_text(const Array& a) {
  std::string text = "(";
  for (int d = 0; d < a.ndim; ++d) text += (d ? ", " : "") + std::to_string(a.shape[d]);
  return text + (a.ndim == 1 ? ",)" : ")");
}

// `expected` has one entry per dimension; -1 accepts any length there.
inline void check_shape(const char* op, const char* name, const Array& a,
                        std::initializer_list<int64_t> expected) {
  bool ok = a.ndim == static_cast<int>(expected.size());
  int d = 0;
  for (int64_t length : expected) {
    if (!ok) break;
    ok = length < 0 || a.shape[d] == length;
    ++d;
  }
  if (ok) return;
  Array wanted;
  wanted.ndim = 0;
  for (int64_t length : expected) wanted.shape[wanted.ndim++] = length;
  throw std::invalid_argument(message(op, ": ", name, " must have shape ", shape_text(wanted),
                                      " (-1: any length); got ", shape_text(a)));
}

inline void check_dtype(const char* op, const char* name, const Array& a, DType expected) {
  if (a.dtype != expected) throw TypeError(message(op, ": ", name, " has an unexpected dtype"));
}

inline void check_features(const char* op, const char* name, const Array& a) {
  if (a.dtype > DType::float64)
    throw TypeError(message(op, ": ", name, " must be float16, bfloat16, float32 or float64"));
}

inline void check_floating(const char* op, const char* name, const Array& a) {
  if (a.dtype != DType::float32 && a.dtype != DType::float64)
    throw TypeError(message(op, ": ", name, " must be float32 or float64"));
}

}  // namespace roiops
