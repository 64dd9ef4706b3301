// From Python's description of an array to the core's view of it.
//
// A NumPy array describes itself through the buffer protocol. Arrays of other libraries arrive as
// the tuple (address, dtype name, shape, strides in elements) made by roiops/_arrays.py, so that no
// framework header is needed here.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <optional>
#include <string>
#include <vector>

#include "roiops/array.h"
#include "roiops/check.h"
#include "roiops/execution.h"

namespace roiops::binding {

namespace py = pybind11;

inline DType dtype_from_numpy(const py::dtype& dtype) {
  switch (dtype.kind()) {
    case 'f':
      if (dtype.itemsize() == 2) return DType::float16;
      if (dtype.itemsize() == 4) return DType::float32;
      if (dtype.itemsize() == 8) return DType::float64;
      break;
    case 'i':
      if (dtype.itemsize() == 8) return DType::int64;
      if (dtype.itemsize() == 4) return DType::int32;
      if (dtype.itemsize() == 2) return DType::int16;
      if (dtype.itemsize() == 1) return DType::int8;
      break;
    case 'u':
    case 'b':
      if (dtype.itemsize() == 1) return DType::uint8;
      break;
  }
  throw TypeError("unsupported dtype " + std::string(py::str(dtype)));
}

inline DType dtype_from_name(const std::string& name) {
  if (name == "float16") return DType::float16;
  if (name == "bfloat16") return DType::bfloat16;
  if (name == "float32") return DType::float32;
  if (name == "float64") return DType::float64;
  if (name == "int64") return DType::int64;
  if (name == "int32") return DType::int32;
  if (name == "int16") return DType::int16;
  if (name == "int8") return DType::int8;
  if (name == "uint8" || name == "bool") return DType::uint8;
  throw TypeError("unsupported dtype " + name);
}

inline void check_dims(int64_t ndim) {
  if (ndim > kMaxDims) throw std::invalid_argument("an array has too many dimensions");
}

inline Array view(const py::handle& object) {
  Array a;
  if (py::isinstance<py::array>(object)) {
    const auto array = py::reinterpret_borrow<py::array>(object);
    check_dims(array.ndim());
    a.data = const_cast<void*>(array.data());
    a.dtype = dtype_from_numpy(array.dtype());
    a.ndim = static_cast<int>(array.ndim());
    for (int d = 0; d < a.ndim; ++d) {
      a.shape[d] = array.shape(d);
      a.stride[d] = array.strides(d) / array.itemsize();
    }
    return a;
  }
  const auto described = py::cast<py::tuple>(object);
  const auto shape = described[2].cast<py::tuple>(), strides = described[3].cast<py::tuple>();
  check_dims(static_cast<int64_t>(shape.size()));
  a.data = reinterpret_cast<void*>(described[0].cast<uintptr_t>());
  a.dtype = dtype_from_name(described[1].cast<std::string>());
  a.ndim = static_cast<int>(shape.size());
  for (int d = 0; d < a.ndim; ++d) {
    a.shape[d] = shape[d].cast<int64_t>();
    a.stride[d] = strides[d].cast<int64_t>();
  }
  return a;
}

inline Array view_or_none(const py::object& object) {
  return object.is_none() ? Array{} : view(object);
}

inline std::vector<Array> views(const py::sequence& objects) {
  std::vector<Array> arrays;
  for (const auto& object : objects) arrays.push_back(view(object));
  return arrays;
}

}  // namespace roiops::binding

// An int is a number of threads; a tuple (device, stream, workspace, order) a place on a GPU:
// workspace(bytes) and order(keys, rows, columns) give addresses of device memory (see Execution).
template <>
struct pybind11::detail::type_caster<roiops::Execution> {
  PYBIND11_TYPE_CASTER(roiops::Execution, const_name("int | tuple"));

  bool load(handle source, bool) {
    if (PyLong_Check(source.ptr())) {
      value.threads = source.cast<int>();
      return true;
    }
    if (!isinstance<tuple>(source)) return false;
    const auto place = reinterpret_borrow<tuple>(source);
    value.device = place[0].cast<int>();
    value.stream = reinterpret_cast<void*>(place[1].cast<uintptr_t>());
    // The caller's tuple outlives the call, which has let the interpreter go.
    value.workspace = [allocate = handle(place[2])](size_t bytes) {
      const gil_scoped_acquire acquire;
      return reinterpret_cast<void*>(allocate(bytes).cast<uintptr_t>());
    };
    value.order = [sort = handle(place[3])](const int64_t* keys, int64_t rows, int64_t columns) {
      const gil_scoped_acquire acquire;
      const object order = sort(reinterpret_cast<uintptr_t>(keys), rows, columns);
      return reinterpret_cast<const int64_t*>(order.cast<uintptr_t>());
    };
    return true;
  }
};
