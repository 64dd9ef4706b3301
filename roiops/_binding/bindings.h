// The parts of the compiled module, one file per operator.
#pragma once

#include <pybind11/pybind11.h>

namespace roiops::binding {

namespace py = pybind11;

void bind_anchors(py::module_& m);
void bind_box_area(py::module_& m);
void bind_box_coding(py::module_& m);
void bind_box_convert(py::module_& m);
void bind_box_iou(py::module_& m);
void bind_clip_boxes(py::module_& m);
void bind_crop_masks(py::module_& m);
void bind_fpn_levels(py::module_& m);
void bind_keypoints(py::module_& m);
void bind_masks_to_boxes(py::module_& m);
void bind_match_boxes(py::module_& m);
void bind_nms(py::module_& m);
void bind_paste_masks(py::module_& m);
void bind_rasterize_polygons(py::module_& m);
void bind_remove_small_boxes(py::module_& m);
void bind_roi_align(py::module_& m);
void bind_roi_pool(py::module_& m);
void bind_soft_nms(py::module_& m);

}  // namespace roiops::binding
