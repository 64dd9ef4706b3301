// Matching on a GPU, several images in a launch: a thread for each box walks along the targets of
// its image, a block's share of which is in shared memory. IoUs are never stored.
//
// For the low-quality rule the first pass also finds each target's greatest IoU: the greatest of a
// warp, of a block, of all, by integer atomics on the bits of numbers that are not negative, whose
// order does not matter. The second looks again only at boxes whose own greatest IoU is that of
// some target.
//
// Bytes moved: the boxes and the results once, the targets once for every 256 boxes.
#include <algorithm>

#include "each.cuh"
#include "internal/match_boxes_check.h"
#include "internal/match_boxes_formulas.h"
#include "roiops/geometry.h"
#include "roiops/match_boxes.h"

namespace roiops {
namespace cuda {
namespace {

constexpr int kTile = 256;       // targets, and threads of a block
constexpr int kMostImages = 32;  // of a launch: they are its parameters

// Numbers that are not negative have the order of their bits.
template <class T>
struct OrderedBits;
template <>
struct OrderedBits<float> {
  using type = unsigned;
};
template <>
struct OrderedBits<double> {
  using type = unsigned long long;
};

template <class T>
struct Rows {
  const T* data;
  int64_t row, column;

  __device__ void load(T* box, int64_t i) const {
    for (int c = 0; c < 4; ++c) box[c] = data[i * row + c * column];
  }
};

template <class T>
Rows<T> rows_of(const Array& a) {
  return {a.at<T>(), a.stride[0], a.stride[1]};
}

template <class T>
struct Image {
  Rows<T> targets, boxes;
  int64_t target_count, box_count;
  int64_t first;                        // of its results
  typename OrderedBits<T>::type* best;  // IoU of each target; null without the low-quality rule
};

template <class T>
struct Batch {
  int64_t* matched_idxs;
  int8_t* labels;
  T* ious;
  T high, low;
  Image<T> image[kMostImages];
};

template <class T>
__global__ void match(Batch<T> batch) {
  using Bits = typename OrderedBits<T>::type;
  ROIOPS_SHARED(T, tile, 4 * kTile);
  ROIOPS_SHARED(Bits, tile_best, kTile);
  const Image<T>& image = batch.image[blockIdx.y];
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kTile, i = begin + threadIdx.x;
  if (begin >= image.box_count) return;  // the whole block
  const bool there = i < image.box_count;
  T box[4] = {static_cast<T>(NAN), T(0), T(0), T(0)};  // whose IoU is 0
  if (there) image.boxes.load(box, i);
  T best = T(0);
  int64_t index = 0;
  for (int64_t first = 0; first < image.target_count; first += kTile) {
    const int count = static_cast<int>(
        image.target_count - first < kTile ? image.target_count - first : int64_t{kTile});
    const int own = static_cast<int>(threadIdx.x);
    if (own < count) image.targets.load(tile + 4 * own, first + own);
    tile_best[own] = 0;
    __syncthreads();
    for (int g = 0; g < count; ++g) {
      const T iou = roiops::box_iou(tile + 4 * g, box, T(0));
      if (iou > best) {
        best = iou;
        index = first + g;
      }
      if (!image.best || !__any_sync(0xffffffffu, iou > 0)) continue;  // the same for a warp
      T most = iou;
      for (int bits = 16; bits; bits /= 2) {
        const T other = __shfl_xor_sync(0xffffffffu, most, bits);
        most = other > most ? other : most;
      }
      if (own % 32) continue;
      Bits bits;
      __builtin_memcpy(&bits, &most, sizeof bits);
      atomicMax(&tile_best[g], bits);
    }
    __syncthreads();
    if (own < count && tile_best[own]) atomicMax(&image.best[first + own], tile_best[own]);
  }
  if (!there) return;
  batch.matched_idxs[image.first + i] = index;
  batch.ious[image.first + i] = best;
  batch.labels[image.first + i] = match_label(best, batch.high, batch.low, image.target_count > 0);
}

// Boxes that tie for the greatest IoU of a target are positive.
template <class T>
__global__ void promote(Batch<T> batch) {
  const Image<T>& image = batch.image[blockIdx.y];
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kTile + threadIdx.x;
  if (i >= image.box_count) return;
  const T own = batch.ious[image.first + i];
  int8_t& label = batch.labels[image.first + i];
  if (own == 0 || label == 1) return;
  T box[4];
  image.boxes.load(box, i);
  for (int64_t g = 0; g < image.target_count; ++g) {
    T best;
    __builtin_memcpy(&best, image.best + g, sizeof best);
    if (best == 0 || own < best) continue;
    T target[4];
    image.targets.load(target, g);
    if (roiops::box_iou(target, box, T(0)) != best) continue;
    label = 1;
    return;
  }
}

template <class T>
struct Clear {
  T* numbers;

  __device__ void operator()(int64_t i) const { numbers[i] = 0; }
};

template <class T>
void match_images(Batch<T> batch, const MatchArgs& args) {
  using Bits = typename OrderedBits<T>::type;
  const Execution& where = args.execution;
  const size_t images = args.targets.size();
  Bits* best = nullptr;
  if (args.allow_low_quality) {
    int64_t targets = 0;
    for (const Array& of_image : args.targets) targets += of_image.shape[0];
    best = static_cast<Bits*>(
        where.workspace(sizeof(Bits) * static_cast<size_t>(std::max<int64_t>(targets, 1))));
    for_each("match_boxes clear", targets, where, Clear<Bits>{best});
  }
  int64_t first = 0;
  for (size_t begin = 0; begin < images; begin += kMostImages) {
    const size_t count = std::min<size_t>(kMostImages, images - begin);
    int64_t most = 0;
    for (size_t b = 0; b < count; ++b) {
      const Array& targets = args.targets[begin + b];
      const Array& boxes = args.boxes[args.boxes.size() == 1 ? 0 : begin + b];
      batch.image[b] = {
          rows_of<T>(targets), rows_of<T>(boxes), targets.shape[0], boxes.shape[0], first, best};
      first += boxes.shape[0];
      if (best) best += targets.shape[0];
      most = std::max(most, boxes.shape[0]);
    }
    if (most == 0) continue;
    if (most > int64_t{kTile} * 0x7fffffff)
      throw std::invalid_argument(
          message("match_boxes: ", most, " boxes are too many for a GPU's grid"));
    const LaunchConfig config{
        dim3(static_cast<unsigned>((most + kTile - 1) / kTile), static_cast<unsigned>(count)),
        dim3(kTile), 0, static_cast<cudaStream_t>(where.stream)};
    check_launch("match_boxes", launch("match_boxes", match<T>, config, batch));
    if (args.allow_low_quality)
      check_launch("match_boxes", launch("match_boxes promote", promote<T>, config, batch));
  }
}

}  // namespace
}  // namespace cuda

using namespace cuda;

void match_boxes(const Array& matched_idxs, const Array& labels, const Array& ious,
                 const MatchArgs& args) {
  if (check_match_boxes(matched_idxs, labels, ious, args) == 0) return;
  check_device(args.execution.device);
  dispatch_float(ious.dtype, [&](auto zero) {
    using T = decltype(zero);
    Batch<T> batch{};
    batch.matched_idxs = matched_idxs.at<int64_t>();
    batch.labels = labels.at<int8_t>();
    batch.ious = ious.at<T>();
    batch.high = static_cast<T>(args.high);
    batch.low = static_cast<T>(args.low);
    match_images(batch, args);
  });
}

}  // namespace roiops
