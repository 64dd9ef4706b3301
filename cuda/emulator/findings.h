// What a launch was found to do wrong, as lines of text.
#pragma once

#include <string>

namespace roiops::emulator {

// Kept once each, up to a limit; the place is added: kernel, block and thread, where one is
// running.
void report(const std::string& what);

// All since the last call, one per line.
std::string take_findings();

}  // namespace roiops::emulator
