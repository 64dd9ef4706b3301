// One random case of one operator.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace roiops::fuzz {

struct Counts {
  int64_t results = 0, refused = 0;
};
using Tally = std::map<std::string, Counts>;

// Throws std::logic_error if the two runs of the case differ, and lets through every exception that
// is not one of the core's.
void run_case(uint64_t number, Tally& tally);

}  // namespace roiops::fuzz
