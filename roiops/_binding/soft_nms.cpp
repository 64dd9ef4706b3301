// soft_nms.
#include "roiops/soft_nms.h"

#include <pybind11/pybind11.h>

#include <string>

#include "bindings.h"
#include "views.h"

namespace roiops::binding {
namespace {

Decay decay(const std::string& method) {
  return method == "linear" ? Decay::linear : method == "gaussian" ? Decay::gaussian : Decay::hard;
}

}  // namespace

void bind_soft_nms(py::module_& m) {
  m.def("soft_nms", [](const py::object& keep, const py::object& new_scores,
                       const py::object& boxes, const py::object& scores, const py::object& idxs,
                       const std::string& method, double iou_threshold, double sigma,
                       double score_threshold, const Execution& execution) {
    const roiops::SoftNmsArgs args{view(boxes),   view(scores), view_or_none(idxs), decay(method),
                                   iou_threshold, sigma,        score_threshold,    execution};
    const Array out = view(keep), out_scores = view(new_scores);
    py::gil_scoped_release release;
    return roiops::soft_nms(out, out_scores, args);
  });
}

}  // namespace roiops::binding
