// Non-maximum suppression.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings.h"
#include "roiops/nms.h"
#include "views.h"

namespace roiops::binding {

void bind_suppression(py::module_& m) {
  m.def("nms", [](const py::object& keep, const py::object& boxes, const py::object& scores,
                  const py::object& idxs, double iou_threshold, bool plus_one, int threads) {
    const roiops::NmsArgs args{view(boxes),   view(scores), view_or_none(idxs),
                               iou_threshold, plus_one,     threads};
    const Array out = view(keep);
    py::gil_scoped_release release;
    return roiops::nms(out, args);
  });
}

}  // namespace roiops::binding
