// Masks.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <vector>

#include "bindings.h"
#include "roiops/crop_masks.h"
#include "roiops/paste_masks.h"
#include "roiops/paste_masks_rle.h"
#include "roiops/rasterize_polygons.h"
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
  m.def("crop_masks", [](const py::object& cropped, const py::object& masks,
                         const py::object& boxes, bool aligned, const Execution& execution) {
    const roiops::CropMasksArgs args{view(masks), view(boxes), aligned, execution};
    const Array out = view(cropped);
    py::gil_scoped_release release;
    roiops::crop_masks(out, args);
  });
  m.def("rasterize_polygons",
        [](const py::object& filled, const py::object& vertices, const py::object& polygons,
           const py::object& objects, const py::object& boxes, const Execution& execution) {
          const roiops::RasterizePolygonsArgs args{view(vertices), view(polygons), view(objects),
                                                   view(boxes), execution};
          const Array out = view(filled);
          py::gil_scoped_release release;
          roiops::rasterize_polygons(out, args);
        });
}

}  // namespace roiops::binding
