// roi_align and nms on a C++ program's own buffers: keep the boxes that overlap no better one, then
// pool the features of each.
#include <cstdio>
#include <stdexcept>
#include <vector>

#include "roiops/nms.h"
#include "roiops/roi_align.h"

namespace {

// A view of a buffer whose elements lie in row-major order; the buffer stays the caller's.
template <class T>
roiops::Array view(std::vector<T>& buffer, roiops::DType dtype, std::vector<int64_t> shape) {
  roiops::Array array;
  array.data = buffer.data();
  array.dtype = dtype;
  array.ndim = static_cast<int>(shape.size());
  int64_t stride = 1;
  for (int d = array.ndim - 1; d >= 0; --d) {
    array.shape[d] = shape[d];
    array.stride[d] = stride;
    stride *= shape[d];
  }
  return array;
}

}  // namespace

int main() {
  using roiops::DType;

  std::vector<float> boxes = {4, 4, 24, 24, 5, 5, 25, 25, 30, 10, 38, 20};
  std::vector<float> scores = {0.9f, 0.8f, 0.7f};
  std::vector<int64_t> keep(scores.size());
  roiops::NmsArgs suppression;
  suppression.boxes = view(boxes, DType::float32, {3, 4});
  suppression.scores = view(scores, DType::float32, {3});
  suppression.iou_threshold = 0.5;
  const int64_t kept = roiops::nms(view(keep, DType::int64, {3}), suppression);

  // One feature cell per 4 pixels, and the kept boxes of image 0.
  std::vector<float> features(100);
  for (size_t i = 0; i < features.size(); ++i) features[i] = static_cast<float>(i);
  std::vector<float> rois;
  for (int64_t i = 0; i < kept; ++i) {
    rois.push_back(0);
    rois.insert(rois.end(), &boxes[4 * keep[i]], &boxes[4 * keep[i]] + 4);
  }
  std::vector<float> pooled(kept * 2 * 2);
  roiops::RoiAlignArgs pooling;
  pooling.inputs = {view(features, DType::float32, {1, 1, 10, 10})};
  pooling.spatial_scales = {0.25};
  pooling.rois = view(rois, DType::float32, {kept, 5});
  pooling.placement = roiops::Placement::aligned;
  roiops::roi_align_forward(view(pooled, DType::float32, {kept, 1, 2, 2}), pooling);
  for (int64_t i = 0; i < kept; ++i) {
    const float* bins = &pooled[4 * i];
    std::printf("box %lld: %g %g %g %g\n", static_cast<long long>(keep[i]), bins[0], bins[1],
                bins[2], bins[3]);
  }

  // A mistake is an exception before anything is written.
  rois[0] = 7;
  try {
    roiops::roi_align_forward(view(pooled, DType::float32, {kept, 1, 2, 2}), pooling);
  } catch (const std::out_of_range& error) {
    std::printf("%s\n", error.what());
  }
}
