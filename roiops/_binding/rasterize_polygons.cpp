// Targets of the mask head, from polygons.
#include "roiops/rasterize_polygons.h"

#include <pybind11/pybind11.h>

#include "bindings.h"
#include "views.h"

namespace roiops::binding {
void bind_rasterize_polygons(py::module_& m) {
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
