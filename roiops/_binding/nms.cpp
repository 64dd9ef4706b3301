// nms (with groups: batched_nms) and padded_nms.
#include "roiops/nms.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>

#include "bindings.h"
#include "views.h"

namespace roiops::binding {
void bind_nms(py::module_& m) {
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
}

}  // namespace roiops::binding
