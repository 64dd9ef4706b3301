// The grid of anchors.
#include "roiops/anchors.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <utility>
#include <vector>

#include "bindings.h"
#include "views.h"

namespace roiops::binding {
namespace {

AnchorConvention anchor_convention(const std::string& name) {
  if (name == "detectron2") return AnchorConvention::detectron2;
  if (name == "detectron") return AnchorConvention::detectron;
  return AnchorConvention::torchvision;
}

}  // namespace

void bind_anchors(py::module_& m) {
  m.def("grid_anchors",
        [](const py::object& anchors, int64_t height, int64_t width, double stride_y,
           double stride_x, std::vector<double> sizes, std::vector<double> aspect_ratios,
           const std::string& convention, const Execution& execution) {
          const roiops::GridAnchorArgs args{height,
                                            width,
                                            stride_y,
                                            stride_x,
                                            std::move(sizes),
                                            std::move(aspect_ratios),
                                            anchor_convention(convention),
                                            execution};
          const Array out = view(anchors);
          py::gil_scoped_release release;
          roiops::grid_anchors(out, args);
        });
}

}  // namespace roiops::binding
