// The text of COCO's run lengths.
#pragma once

#include <cstdint>
#include <string>

namespace roiops {

// Of a picture of `pixels`, numbered down the columns. ends: where its runs end, ascending, the
// first one being of zeros (0: there is none); the last one ends with the picture and is not among
// them. COCO writes their lengths, from the fourth on less the one two before.
inline std::string rle_text(const int64_t* ends, int64_t count, int64_t pixels) {
  std::string text;
  const auto put = [&](int64_t number) {
    for (; number < -16 || number >= 16; number >>= 5)
      text += static_cast<char>('P' + (number & 31));
    text += static_cast<char>('0' + (number & 31));
  };
  int64_t start = 0, one_before = 0, two_before = 0;
  for (int64_t run = 0; run <= count; ++run) {
    const int64_t end = run < count ? ends[run] : pixels, length = end - start;
    put(run < 3 ? length : length - two_before);
    two_before = one_before;
    one_before = length;
    start = end;
  }
  return text;
}

}  // namespace roiops
