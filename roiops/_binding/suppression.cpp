// Non-maximum suppression.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>

#include "bindings.h"
#include "roiops/nms.h"
#include "roiops/soft_nms.h"
#include "views.h"

namespace roiops::binding {
namespace {

Decay decay(const std::string& method) {
  return method == "linear" ? Decay::linear : method == "gaussian" ? Decay::gaussian : Decay::hard;
}

}  // namespace

void bind_suppression(py::module_& m) {
  m.def("nms", [](const py::object& keep, const py::object& boxes, const py::object& scores,
                  const py::object& idxs, double iou_threshold, bool plus_one,
                  const Execution& execution) {
    const roiops::NmsArgs args{view(boxes), view(scores), view_or_none(idxs), iou_threshold,
                               plus_one,    std::nullopt, execution};
    const Array out = view(keep);
    py::gil_scoped_release release;
    return roiops::nms(out, args);
  });
  m.def(
      "padded_nms", [](const py::object& indices, const py::object& counts, const py::object& boxes,
                       const py::object& scores, const py::object& idxs, double iou_threshold,
                       std::optional<double> score_threshold, const Execution& execution) {
        const roiops::NmsArgs args{view(boxes), view(scores),    view_or_none(idxs), iou_threshold,
                                   false,       score_threshold, execution};
        const Array out = view(indices), numbers = view(counts);
        py::gil_scoped_release release;
        roiops::padded_nms(out, numbers, args);
      });
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
