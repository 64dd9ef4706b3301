// Which target each box belongs to.
#include "roiops/match_boxes.h"

#include <pybind11/pybind11.h>

#include "bindings.h"
#include "views.h"

namespace roiops::binding {
void bind_match_boxes(py::module_& m) {
  m.def("match_boxes",
        [](const py::object& matched_idxs, const py::object& labels, const py::object& ious,
           const py::sequence& targets, const py::sequence& boxes, double high, double low,
           bool allow_low_quality, const Execution& execution) {
          const Array indices = view(matched_idxs), marks = view(labels), overlaps = view(ious);
          const roiops::MatchArgs args{views(targets),    views(boxes), high, low,
                                       allow_low_quality, execution};
          py::gil_scoped_release release;
          roiops::match_boxes(indices, marks, overlaps, args);
        });
}

}  // namespace roiops::binding
