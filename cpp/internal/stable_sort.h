// Numbers in order, equal ones in the order they came in. Internal to the CPU kernels.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "internal/sort_keys.h"

namespace roiops {

struct Keyed {
  uint64_t key;
  int64_t index;
};

// By ascending key: digit by digit, which costs a few passes instead of comparisons that nobody can
// predict. Digits in which all keys agree cost nothing.
inline void stable_sort_by_key(std::vector<Keyed>& values) {
  constexpr int kBits = 11, kDigits = (64 + kBits - 1) / kBits;
  constexpr size_t kFew = 256;  // for which counting digits takes longer
  if (values.size() < kFew) {
    std::stable_sort(values.begin(), values.end(),
                     [](const Keyed& a, const Keyed& b) { return a.key < b.key; });
    return;
  }
  const auto digit_of = [](uint64_t key, int d) { return key >> d * kBits & ((1 << kBits) - 1); };
  uint64_t differ = 0;
  for (const Keyed& v : values) differ |= v.key ^ values[0].key;
  std::vector<Keyed> sorted(values.size());
  for (int d = 0; d < kDigits; ++d) {
    if (!digit_of(differ, d)) continue;
    std::array<int64_t, (1 << kBits) + 1> begin{};
    for (const Keyed& v : values) ++begin[digit_of(v.key, d) + 1];
    for (size_t i = 1; i < begin.size(); ++i) begin[i] += begin[i - 1];
    for (const Keyed& v : values) sorted[begin[digit_of(v.key, d)]++] = v;
    values.swap(sorted);
  }
}

}  // namespace roiops
