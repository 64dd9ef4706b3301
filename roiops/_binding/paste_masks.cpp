// Masks pasted into an image, as pixels and as run lengths.
#include "roiops/paste_masks.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <vector>

#include "bindings.h"
#include "roiops/paste_masks_rle.h"
#include "views.h"

namespace roiops::binding {
namespace {

PasteConvention paste_convention(const std::string& name) {
  return name == "detectron2" ? PasteConvention::detectron2 : PasteConvention::torchvision;
}

}  // namespace

void bind_paste_masks(py::module_& m) {
  m.def("paste_masks", [](const py::object& pasted, const py::object& masks,
                          const py::object& boxes, std::optional<double> threshold, int64_t padding,
                          const std::string& convention, const Execution& execution) {
    const roiops::PasteMasksArgs args{
        view(masks), view(boxes), threshold, padding, paste_convention(convention), execution};
    const Array out = view(pasted);
    py::gil_scoped_release release;
    roiops::paste_masks(out, args);
  });

  m.def("paste_masks_rle", [](const py::object& masks, const py::object& boxes, int64_t height,
                              int64_t width, double threshold, int64_t padding,
                              const std::string& convention, const Execution& execution) {
    const roiops::PasteMasksArgs args{
        view(masks), view(boxes), threshold, padding, paste_convention(convention), execution};
    std::vector<std::string> texts;
    {
      py::gil_scoped_release release;
      texts = roiops::paste_masks_rle(args, height, width);
    }
    py::list counts;
    for (const std::string& text : texts) counts.append(py::bytes(text));
    return counts;
  });
}

}  // namespace roiops::binding
