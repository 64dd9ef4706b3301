// How soft-NMS lowers the score of a box that overlaps a better one.
#pragma once

namespace roiops {

enum class Decay { linear, gaussian, hard };

}  // namespace roiops
