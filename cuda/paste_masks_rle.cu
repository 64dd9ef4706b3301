// Masks pasted into pictures, as run lengths: what is sent to the host is where the runs end.
//
// A block for each mask, a thread for a pixel column of its box, 256 columns at a time. A thread
// goes down its column twice: first to count where it differs from the pixel before, then, when the
// counts of all columns before it are known, to write the places. The host waits for how many there
// are, and for them, and writes the text. No picture is made.
//
// Bytes moved: the masks twice, out of caches; 8 for each column of a picture, and for each run.
#include <stdexcept>

#include "compat.cuh"
#include "internal/paste_masks_check.h"
#include "internal/rle_text.h"
#include "pasted_masks.cuh"
#include "roiops/paste_masks_rle.h"

namespace roiops {
namespace cuda {
namespace {

constexpr int kThreads = 256;
constexpr unsigned kAll = 0xffffffffu;

// The sum of the threads before each, and of all; of_warps: one for each warp, in shared memory.
struct Scan {
  int64_t before, total;
};
__device__ Scan scan(int64_t own, int64_t* of_warps) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  int64_t sum = own;
  for (int step = 1; step < 32; step *= 2) {
    const int64_t before = __shfl_up_sync(kAll, sum, step);
    if (lane >= step) sum += before;
  }
  __syncthreads();  // nobody reads the sums before any more
  if (lane == 31) of_warps[warp] = sum;
  __syncthreads();
  Scan found{sum - own, 0};
  for (int w = 0; w < kThreads / 32; ++w) {
    if (w < warp) found.before += of_warps[w];
    found.total += of_warps[w];
  }
  return found;
}

template <class T>
struct Picture {
  PastedMasks<T> all;
  int64_t height, width;

  // Pixels outside the box.
  __device__ bool nothing() const { return all.inside(T(0)); }
  // The first run, of zeros, has no pixel, and no column of the box says so.
  __device__ bool begins_set(const PasteAxes& box) const {
    const bool in_box = box.x.begin == 0 && box.y.begin == 0 && box.x.end > 0;
    return nothing() && !in_box;
  }
};

// Calls visit(place) for the pixels of column x of the box, and the first one after them, that
// differ from the pixel before; before the first pixel of a picture all is 0. All threads of a
// block call, also where the box has no such column.
template <class T, class Visit>
__device__ void each_change(const Picture<T>& picture, int64_t n, int64_t x, PasteTap<T>* taps,
                            const Visit& visit) {
  const PasteAxes& box = picture.all.axes[n];
  const bool nothing = picture.nothing();
  PastedColumn<T> column(picture.all, n, x);
  // Where the box is as high as the picture, a column's first pixel comes after another's last.
  const bool whole = box.y.begin == 0 && box.y.end == picture.height;
  bool before = nothing && (x > 0 || box.y.begin > 0);
  if (column.there() && whole && x > box.x.begin)
    before = picture.all.inside(
        PastedColumn<T>(picture.all, n, x - 1).at(box.y.template tap<T>(picture.height - 1)));
  for (int64_t top = box.y.begin; top < box.y.end; top += kThreads) {
    __syncthreads();  // nobody reads the taps before any more
    if (top + threadIdx.x < box.y.end) taps[threadIdx.x] = box.y.template tap<T>(top + threadIdx.x);
    __syncthreads();
    if (!column.there()) continue;
    for (int64_t y = top; y < top + kThreads && y < box.y.end; ++y) {
      const bool now = picture.all.inside(column.at(taps[y - top]));
      if (now != before) visit(x * picture.height + y);
      before = now;
    }
  }
  const int64_t after = x * picture.height + box.y.end;
  const bool outside = !whole || x + 1 == box.x.end;
  if (column.there() && outside && after < picture.height * picture.width && before != nothing)
    visit(after);
}

// Of each mask: how many runs end, and how many of them before each column of the box.
template <class T>
__global__ void count_changes(Picture<T> picture, int64_t* before, int64_t* totals) {
  ROIOPS_SHARED(PasteTap<T>, taps, kThreads);
  ROIOPS_SHARED(int64_t, of_warps, kThreads / 32);
  const int64_t n = blockIdx.x;
  const PasteAxes& box = picture.all.axes[n];
  int64_t total = picture.begins_set(box);
  for (int64_t first = box.x.begin; first < box.x.end; first += kThreads) {
    const int64_t x = first + threadIdx.x;
    int64_t count = 0;
    each_change(picture, n, x, taps, [&](int64_t) { ++count; });
    const Scan counts = scan(count, of_warps);
    if (x < box.x.end) before[n * picture.width + x] = total + counts.before;
    total += counts.total;
  }
  if (threadIdx.x == 0) totals[n] = total;
}

// Where each mask's places begin among all; one block.
__global__ void add_up(const int64_t* totals, int64_t count, int64_t* offsets) {
  ROIOPS_SHARED(int64_t, of_warps, kThreads / 32);
  int64_t sum = 0;
  for (int64_t first = 0; first < count; first += kThreads) {
    const int64_t n = first + threadIdx.x;
    const Scan counts = scan(n < count ? totals[n] : 0, of_warps);
    if (n < count) offsets[n] = sum + counts.before;
    sum += counts.total;
  }
  if (threadIdx.x == 0) offsets[count] = sum;
}

template <class T>
__global__ void write_changes(Picture<T> picture, const int64_t* before, const int64_t* offsets,
                              int64_t* places) {
  ROIOPS_SHARED(PasteTap<T>, taps, kThreads);
  const int64_t n = blockIdx.x;
  const PasteAxes& box = picture.all.axes[n];
  if (threadIdx.x == 0 && picture.begins_set(box)) places[offsets[n]] = 0;
  for (int64_t first = box.x.begin; first < box.x.end; first += kThreads) {
    const int64_t x = first + threadIdx.x;
    int64_t* to = x < box.x.end ? places + offsets[n] + before[n * picture.width + x] : nullptr;
    each_change(picture, n, x, taps, [&](int64_t place) { *to++ = place; });
  }
}

}  // namespace
}  // namespace cuda

using namespace cuda;

std::vector<std::string> paste_masks_rle(const PasteMasksArgs& args, int64_t height,
                                         int64_t width) {
  const char* op = "paste_masks_rle";
  check_paste_masks_rle(args, height, width);
  const int64_t count = args.masks.shape[0];
  if (count == 0) return {};
  if (count > 0x7fffffff)
    throw std::invalid_argument(message(op, ": masks are too many for a GPU's grid"));
  check_device(args.execution.device);
  const auto numbers = [&](int64_t n) {
    return static_cast<int64_t*>(args.execution.workspace(static_cast<size_t>(n) * 8));
  };
  const auto stream = static_cast<cudaStream_t>(args.execution.stream);
  const auto config = [&](int64_t blocks) {
    return LaunchConfig{dim3(static_cast<unsigned>(blocks)), dim3(kThreads), 0, stream};
  };
  const PasteAxes* axes = find_axes(op, args, height, width);
  int64_t *before = numbers(count * width), *totals = numbers(count), *offsets = numbers(count + 1);
  std::vector<int64_t> begin(static_cast<size_t>(count) + 1), ends;
  dispatch_float(args.masks.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Picture<T> picture{PastedMasks<T>(args, axes), height, width};
    check_launch(op, launch("paste_masks_rle count_changes", count_changes<T>, config(count),
                            picture, before, totals));
    check_launch(op, launch("paste_masks_rle add_up", add_up, config(1), totals, count, offsets));
    read_back(begin.data(), offsets, begin.size(), stream);
    if (begin.back() == 0) return;
    ends.resize(static_cast<size_t>(begin.back()));
    int64_t* places = numbers(begin.back());
    check_launch(op, launch("paste_masks_rle write_changes", write_changes<T>, config(count),
                            picture, before, offsets, places));
    read_back(ends.data(), places, ends.size(), stream);
  });
  std::vector<std::string> texts;
  for (size_t n = 0; n + 1 < begin.size(); ++n)
    texts.push_back(rle_text(ends.data() + begin[n], begin[n + 1] - begin[n], height * width));
  return texts;
}

}  // namespace roiops
