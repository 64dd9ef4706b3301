// The parts of the compiled module, one file per kind of operator.
#pragma once

#include <pybind11/pybind11.h>

namespace roiops::binding {

namespace py = pybind11;

void bind_boxes(py::module_& m);
void bind_fpn_levels(py::module_& m);
void bind_keypoints(py::module_& m);
void bind_masks(py::module_& m);
void bind_nms(py::module_& m);
void bind_roi_align(py::module_& m);
void bind_roi_pool(py::module_& m);
void bind_soft_nms(py::module_& m);

}  // namespace roiops::binding
