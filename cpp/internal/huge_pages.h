// Memory that is about to be written for the first time. Internal to the CPU kernels.
#pragma once

#include "roiops/array.h"

namespace roiops {

// Asks for huge pages under a large output: with small ones, the system's work at the first touch
// of each page takes several times as long as filling it. Memory that has its pages already gains
// nothing now. Nothing happens to views with gaps, or where there are no such pages.
void ask_for_huge_pages(const Array& output);

}  // namespace roiops
