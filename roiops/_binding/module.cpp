// A compiled module, one for each backend, with the same operators: roiops._cpu those of the core,
// roiops._cuda those of cuda/. Checks for people and allocation are done in Python; here
// arrays become views and the interpreter lock is released.
#include <pybind11/pybind11.h>

#include "bindings.h"
#include "roiops/check.h"
#include "roiops/isa.h"
#include "roiops/parallel.h"
#if defined(ROIOPS_CUDA) && !defined(ROIOPS_EMULATED)
#include "device.h"
#endif

PYBIND11_MODULE(ROIOPS_MODULE, m) {
  namespace py = pybind11;
  py::register_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const roiops::TypeError& e) {
      py::set_error(PyExc_TypeError, e.what());
    }
  });

  roiops::binding::bind_anchors(m);
  roiops::binding::bind_box_area(m);
  roiops::binding::bind_box_coding(m);
  roiops::binding::bind_box_convert(m);
  roiops::binding::bind_box_iou(m);
  roiops::binding::bind_clip_boxes(m);
  roiops::binding::bind_crop_masks(m);
  roiops::binding::bind_fpn_levels(m);
  roiops::binding::bind_keypoints(m);
  roiops::binding::bind_masks_to_boxes(m);
  roiops::binding::bind_match_boxes(m);
  roiops::binding::bind_nms(m);
  roiops::binding::bind_paste_masks(m);
  roiops::binding::bind_rasterize_polygons(m);
  roiops::binding::bind_remove_small_boxes(m);
  roiops::binding::bind_roi_align(m);
  roiops::binding::bind_roi_pool(m);
  roiops::binding::bind_soft_nms(m);

#if !defined(ROIOPS_CUDA)
  m.def("num_threads", &roiops::num_threads);
  m.def("set_num_threads", &roiops::set_num_threads);
  m.def("active_isa", [] { return roiops::isa_name(roiops::active_isa()); });
#elif !defined(ROIOPS_EMULATED)
  m.attr("architectures") = ROIOPS_CUDA_ARCHITECTURES;
  m.def("look_at", [](int device) {
    const roiops::cuda::Device found = roiops::cuda::look_at(device);
    return py::make_tuple(found.driver, found.runtime, found.architecture, found.runnable);
  });
#endif
}
