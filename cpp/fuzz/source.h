// Where a random case comes from: numbers that hurt, and arrays of every layout in memory of
// exactly their extent, so that the address sanitizer sees the first byte outside.
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "roiops/array.h"

namespace roiops::fuzz {

inline int64_t item_size(DType dtype) {
  switch (dtype) {
    case DType::float16:
    case DType::bfloat16:
    case DType::int16:
      return 2;
    case DType::float32:
    case DType::int32:
      return 4;
    case DType::float64:
    case DType::int64:
      return 8;
    default:
      return 1;
  }
}

// An array and the memory it lies in.
struct Owned {
  std::unique_ptr<unsigned char[]> memory;
  Array view;

  // f(address) for every element, in row-major order of the view.
  void each(const std::function<void(unsigned char*)>& f) const {
    std::vector<int64_t> index(view.ndim, 0);
    const int64_t size = item_size(view.dtype);
    for (int64_t n = view.size(); n > 0; --n) {
      int64_t at = 0;
      for (int d = 0; d < view.ndim; ++d) at += index[d] * view.stride[d];
      f(static_cast<unsigned char*>(view.data) + at * size);
      for (int d = view.ndim - 1; d >= 0 && ++index[d] == view.shape[d]; --d) index[d] = 0;
    }
  }
  std::vector<unsigned char> bytes() const {
    std::vector<unsigned char> all;
    const int64_t size = item_size(view.dtype);
    each([&](unsigned char* p) { all.insert(all.end(), p, p + size); });
    return all;
  }
};

class Source {
 public:
  explicit Source(uint64_t seed) : random_(seed) {}

  int64_t from_to(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random_);
  }
  bool chance(double p) { return std::bernoulli_distribution(p)(random_); }
  template <class T>
  T one_of(std::initializer_list<T> choices) {
    return choices.begin()[from_to(0, static_cast<int64_t>(choices.size()) - 1)];
  }
  double uniform(double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random_);
  }

  // A coordinate, a score, a feature: mostly ordinary, often on a kink, sometimes absurd.
  double number(double extent = 12) {
    const int64_t kind = from_to(0, 19);
    if (kind < 11) return uniform(-extent / 2, 1.5 * extent);
    if (kind < 16) return static_cast<double>(from_to(-6, 40)) / 2;
    if (kind < 18) return uniform(0, 1);
    return one_of({0.0,
                   -0.0,
                   1e30,
                   -1e30,
                   3e38,
                   1e300,
                   -1e300,
                   1e-30,
                   1e-42,
                   5e-324,
                   -1.0,
                   2147483647.0,
                   2147483648.0,
                   -2147483649.0,
                   4294967296.0,
                   9.3e18,
                   1e9,
                   std::numeric_limits<double>::infinity(),
                   -std::numeric_limits<double>::infinity(),
                   std::numeric_limits<double>::quiet_NaN()});
  }
  double scale() {
    return chance(0.8) ? one_of({1.0, 0.5, 0.25, 1.0 / 16, 0.9}) : std::fabs(number()) + 1e-300;
  }
  int64_t length(int64_t most = 9) { return chance(0.06) ? 0 : from_to(1, most); }
  int threads() { return static_cast<int>(from_to(1, 3)); }

  DType floating() { return one_of({DType::float32, DType::float32, DType::float64}); }
  DType feature() {
    return one_of({DType::float32, DType::float64, DType::float16, DType::bfloat16});
  }

  // What a careless caller passes: another length, another number of dimensions, another type.
  void spoil(DType& dtype, std::vector<int64_t>& shape) {
    if (chance(0.985)) return;
    switch (from_to(0, 3)) {
      case 0:
        dtype = one_of({DType::float16, DType::float32, DType::float64, DType::int64, DType::uint8,
                        DType::int8});
        break;
      case 1:
        if (!shape.empty()) shape[from_to(0, static_cast<int64_t>(shape.size()) - 1)] = length(5);
        break;
      case 2:
        if (!shape.empty()) shape.pop_back();
        break;
      default:
        if (shape.size() < kMaxDims) shape.push_back(length(3));
    }
  }

  using Draw = std::function<double(Source&)>;

  Owned input(DType dtype, std::vector<int64_t> shape, const Draw& draw) {
    spoil(dtype, shape);
    Owned array = placed(dtype, shape, /*may_overlap=*/true);
    array.each([&](unsigned char* p) { put(p, dtype, draw(*this)); });
    return array;
  }
  Owned input(DType dtype, std::vector<int64_t> shape) {
    return input(dtype, std::move(shape), [](Source& s) { return s.number(); });
  }
  Owned output(DType dtype, std::vector<int64_t> shape) {
    spoil(dtype, shape);
    return placed(dtype, shape, /*may_overlap=*/false);
  }

  // rois (K, 5) of `images` images; sometimes of others.
  Owned rois(int64_t count, int64_t images, double extent) {
    int64_t at = 0;
    return input(floating(), {count, 5}, [&, at](Source& s) mutable {
      if (at++ % 5) return s.number(extent);
      return s.chance(0.997) ? static_cast<double>(s.from_to(0, std::max<int64_t>(images, 1) - 1))
                             : s.number();
    });
  }

 private:
  static void put(unsigned char* to, DType dtype, double value) {
    const auto store = [&](auto x) { std::memcpy(to, &x, sizeof x); };
    switch (dtype) {
      case DType::float16: {
        Float16 x;
        narrow(x, static_cast<float>(value));
        return store(x);
      }
      case DType::bfloat16: {
        BFloat16 x;
        narrow(x, static_cast<float>(value));
        return store(x);
      }
      case DType::float32:
        return store(static_cast<float>(value));
      case DType::float64:
        return store(value);
      default: {
        const bool fits = value >= -9e18 && value <= 9e18;
        const int64_t whole = fits ? static_cast<int64_t>(value) : 0;
        if (dtype == DType::int64) return store(whole);
        if (dtype == DType::int32) return store(static_cast<int32_t>(whole & 0x7fffffff));
        if (dtype == DType::int16) return store(static_cast<int16_t>(whole & 0x7fff));
        return store(static_cast<int8_t>(whole & 0x7f));
      }
    }
  }

  // Axes in any order, with or without gaps, backwards or (for what is only read) all at one place.
  Owned placed(DType dtype, const std::vector<int64_t>& shape, bool may_overlap) {
    Owned array;
    array.view.dtype = dtype;
    array.view.ndim = static_cast<int>(shape.size());
    std::vector<int> order(shape.size());
    for (size_t d = 0; d < order.size(); ++d) order[d] = static_cast<int>(d);
    const bool plain = chance(0.5);
    if (!plain) std::shuffle(order.begin(), order.end(), random_);
    int64_t stride = 1, first = 0, extent = shape.empty() ? 1 : 1;
    for (auto d = order.rbegin(); d != order.rend(); ++d) {
      const int64_t n = shape[*d];
      int64_t step = stride;
      if (!plain && chance(0.2)) step *= 2;
      if (!plain && may_overlap && chance(0.08)) step = 0;
      stride = std::max<int64_t>(step, stride) * std::max<int64_t>(n, 1);
      if (!plain && chance(0.15)) step = -step;
      array.view.shape[*d] = n;
      array.view.stride[*d] = step;
      const int64_t reach = n > 0 ? step * (n - 1) : 0;
      if (reach < 0) first -= reach;
      extent += std::abs(reach);
    }
    if (array.view.size() == 0) first = extent = 0;
    const int64_t size = item_size(dtype);
    array.memory.reset(new unsigned char[extent * size]());
    array.view.data = array.memory.get() + first * size;
    // torch gives no address for an empty tensor.
    if (array.view.size() == 0 && chance(0.5)) array.view.data = nullptr;
    return array;
  }

  std::mt19937_64 random_;
};

}  // namespace roiops::fuzz
