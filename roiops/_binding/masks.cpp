// Masks.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>

#include "bindings.h"
#include "roiops/paste_masks.h"
#include "views.h"

namespace roiops::binding {
namespace {

PasteConvention paste_convention(const std::string& name) {
  return name == "detectron2" ? PasteConvention::detectron2 : PasteConvention::torchvision;
}

}  // namespace

void bind_masks(py::module_& m) {
  m.def("paste_masks", [](const py::object& pasted, const py::object& masks,
                          const py::object& boxes, std::optional<double> threshold, int64_t padding,
                          const std::string& convention, int threads) {
    const roiops::PasteMasksArgs args{
        view(masks), view(boxes), threshold, padding, paste_convention(convention), threads};
    const Array out = view(pasted);
    py::gil_scoped_release release;
    roiops::paste_masks(out, args);
  });
}

}  // namespace roiops::binding
