// What RoIAlign refuses, on the CPU and on a GPU, before anything is computed.
#pragma once

#include <string>
#include <vector>

#include "roiops/check.h"
#include "roiops/roi_align.h"

namespace roiops {

// The public function that an error speaks of.
inline std::string op_name(const RoiAlignArgs& args, const char* suffix = "") {
  if (args.placement == Placement::warp || args.placement == Placement::warp_mnc)
    return std::string("roi_warp") + suffix;
  if (args.position_sensitive)
    return (args.placement == Placement::cells ? "ps_roi_pool" : "ps_roi_align") +
           std::string(suffix);
  return (args.levels.data ? "multiscale_roi_align" : "roi_align") + std::string(suffix);
}

inline void check_roi_align(const std::string& name, const RoiAlignArgs& args, const Array& pooled,
                            const char* pooled_name) {
  const char* op = name.c_str();
  if (args.inputs.empty() || args.inputs.size() != args.spatial_scales.size())
    throw std::invalid_argument(
        message(op, ": input and spatial_scale must come in equal number, at least one"));
  const Array& first = args.inputs[0];
  check_features(op, "input", first);
  check_floating(op, "boxes", args.rois);
  check_shape(op, "boxes", args.rois, {-1, 5});
  if (args.levels.data) {
    check_shape(op, "levels", args.levels, {args.rois.shape[0]});
    check_dtype(op, "levels", args.levels, DType::int64);
  }
  for (const Array& input : args.inputs) {
    check_shape(op, "input", input, {first.shape[0], first.shape[1], -1, -1});
    check_dtype(op, "input", input, first.dtype);
    if (input.shape[2] < 1 || input.shape[3] < 1 || input.shape[2] > kMaxMapSide ||
        input.shape[3] > kMaxMapSide)
      throw std::invalid_argument(
          message(op, ": input must have height and width in [1, 2^30]; got ", shape_text(input)));
  }
  const int64_t channels = args.position_sensitive ? -1 : first.shape[1];
  check_shape(op, pooled_name, pooled, {args.rois.shape[0], channels, -1, -1});
  const int64_t rows = pooled.shape[2], cols = pooled.shape[3];
  if (rows < 1 || cols < 1)
    throw std::invalid_argument(
        message(op, ": output_size must be at least 1; got ", shape_text(pooled)));
  if (args.position_sensitive && (first.shape[1] % rows || first.shape[1] / rows % cols ||
                                  first.shape[1] / rows / cols != pooled.shape[1]))
    throw std::invalid_argument(message(op, ": input must have a channel per bin and channel of ",
                                        pooled_name, " ", shape_text(pooled), "; got ",
                                        shape_text(first)));
  if (args.max && args.position_sensitive)
    throw std::invalid_argument(message(op, ": reduction must be the mean"));
  if (args.placement == Placement::cells && !args.position_sensitive)
    throw std::invalid_argument(message(op, ": whole cells are pooled position-sensitively"));
  check_dtype(op, pooled_name, pooled, first.dtype);
  if (args.sampling_ratio > kMaxSamplingRatio)
    throw std::invalid_argument(message(op, ": sampling_ratio must be at most ", kMaxSamplingRatio,
                                        "; got ", args.sampling_ratio));
}

inline void check_like_inputs(const std::string& op, const char* name,
                              const std::vector<Array>& maps, const RoiAlignArgs& args) {
  if (maps.size() != args.inputs.size())
    throw std::invalid_argument(message(op, ": ", name, " must have one map per input"));
  for (size_t l = 0; l < maps.size(); ++l) {
    const int64_t* s = args.inputs[l].shape;
    check_shape(op.c_str(), name, maps[l], {s[0], s[1], s[2], s[3]});
    check_dtype(op.c_str(), name, maps[l], args.inputs[l].dtype);
  }
}

inline void check_grad_rois(const std::string& op, const Array& result, const RoiAlignArgs& args) {
  if (args.placement == Placement::cells)
    throw std::invalid_argument(message(op, ": whole cells give the boxes no gradient"));
  check_shape(op.c_str(), "grad_rois", result, {args.rois.shape[0], 5});
  check_dtype(op.c_str(), "grad_rois", result, args.rois.dtype);
}

}  // namespace roiops
