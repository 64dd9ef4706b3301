// Boxes by group (class, pyramid level), for operators in which boxes of different groups never
// meet. Internal to the CPU kernels.
#pragma once

#include <vector>

#include "internal/stable_sort.h"
#include "roiops/array.h"

namespace roiops {

struct BoxGroups {
  std::vector<int64_t> members;  // one run per group, each in the order it was given in
  std::vector<int64_t> begin;    // the runs' bounds: one more than there are groups

  // idxs (N,) int64, or idxs.data == nullptr: all are one group.
  BoxGroups(const Array& idxs, std::vector<int64_t> order) : members(std::move(order)), begin{0} {
    if (idxs.data) {
      std::vector<Keyed> keyed;
      keyed.reserve(members.size());
      for (int64_t m : members) keyed.push_back({ascending_key(idxs.at<int64_t>(m)), m});
      stable_sort_by_key(keyed);
      for (size_t i = 0; i < keyed.size(); ++i) {
        members[i] = keyed[i].index;
        if (i && keyed[i].key != keyed[i - 1].key) begin.push_back(static_cast<int64_t>(i));
      }
    }
    if (!members.empty()) begin.push_back(static_cast<int64_t>(members.size()));
  }
  int64_t count() const { return static_cast<int64_t>(begin.size()) - 1; }
};

}  // namespace roiops
