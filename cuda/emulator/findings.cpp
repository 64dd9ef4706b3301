#include "emulator/findings.h"

#include <set>
#include <vector>

#include "emulator/machine.h"

namespace roiops::emulator {

extern const char* kernel_under_way;

namespace {

constexpr size_t kMost = 50;  // one mistake is often made by every thread
std::vector<std::string> findings;
std::set<std::string> known;

std::string text(dim3 index) {
  return "(" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " +
         std::to_string(index.z) + ")";
}

}  // namespace

void report(const std::string& what) {
  if (findings.size() >= kMost || !known.insert(what).second) return;
  std::string line = what + " [" + (kernel_under_way ? kernel_under_way : "no kernel");
  if (block) line += ", block " + text(place.block) + ", thread " + text(place.thread);
  findings.push_back(line + "]");
}

std::string take_findings() {
  std::string all;
  for (const std::string& line : findings) all += line + "\n";
  findings.clear();
  known.clear();
  return all;
}

}  // namespace roiops::emulator
