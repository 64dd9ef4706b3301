// Boxes by group (class, pyramid level), for operators in which boxes of different groups never
// meet. Internal to the CPU kernels.
#pragma once

#include <algorithm>
#include <vector>

#include "roiops/array.h"

namespace roiops {

struct BoxGroups {
  std::vector<int64_t> members;  // one run per group, each in the order it was given in
  std::vector<int64_t> begin;    // the runs' bounds: one more than there are groups

  // idxs (N,) int64, or idxs.data == nullptr: all are one group.
  BoxGroups(const Array& idxs, std::vector<int64_t> order) : members(std::move(order)), begin{0} {
    if (idxs.data) {
      std::stable_sort(members.begin(), members.end(), [&](int64_t a, int64_t b) {
        return idxs.at<int64_t>(a) < idxs.at<int64_t>(b);
      });
      for (size_t i = 1; i < members.size(); ++i)
        if (idxs.at<int64_t>(members[i]) != idxs.at<int64_t>(members[i - 1]))
          begin.push_back(static_cast<int64_t>(i));
    }
    if (!members.empty()) begin.push_back(static_cast<int64_t>(members.size()));
  }
  int64_t count() const { return static_cast<int64_t>(begin.size()) - 1; }
};

}  // namespace roiops
