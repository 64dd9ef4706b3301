// Non-maximum suppression on a GPU, plain, by groups, and of several images.
//
// The boxes are put in the order of their scores (by the caller's library, from keys made here),
// then taken in chunks of 256. A block finds which of a chunk are kept: all pairs at once, the
// order of decisions by one warp. Then the kept ones of the chunk take what they suppress out of
// all later boxes, a thread each. How many launches there are depends on the number of boxes alone,
// so that the host need not wait; memory is linear in the number of boxes. Groups are compared, not
// sorted.
//
// Bytes moved: for each chunk the boxes after it once, N^2 / 512 boxes in all; N^2 / 2 pairs are
// compared at most, fewer where boxes are suppressed early. Not measured on a GPU yet.
#include <algorithm>
#include <cmath>
#include <string>

#include "compat.cuh"
#include "internal/nms_check.h"
#include "internal/sort_keys.h"
#include "roiops/geometry.h"
#include "roiops/nms.h"

namespace roiops {
namespace cuda {
namespace {

constexpr int kChunk = 256;  // boxes, and threads of a block
constexpr int kWords = kChunk / 64;

// Rows of somebody else's memory: an element of an image.
template <class T>
struct Rows {
  const T* data;
  int64_t image, row, column;

  __device__ T at(int64_t b, int64_t i, int64_t j = 0) const {
    return data[b * image + i * row + j * column];
  }
};

template <class T>
Rows<T> rows_of(const Array& a, bool batched) {
  const int64_t* stride = a.stride + batched;
  return {a.at<T>(), batched ? a.stride[0] : 0, stride[0], stride[1]};
}

// Where the kept ones go: (N), or (B, M) with an image in front.
struct Kept {
  int64_t *data, image, place, size;

  __device__ int64_t& at(int64_t b, int64_t i) const { return data[b * image + i * place]; }
};

Kept kept_of(const Array& a) {
  const bool batched = a.ndim == 2;
  return {a.at<int64_t>(), batched ? a.stride[0] : 0, a.stride[batched], a.shape[batched]};
}

// In the order of the scores, of all images one after the other.
template <class T>
struct Ranked {
  int64_t count;  // of each image
  const int64_t* order;
  T *x1, *y1, *x2, *y2, *area;
  int64_t* group;
  uint8_t* gone;     // suppressed, or takes no part
  uint8_t* mute;     // suppresses nothing
  int32_t* winners;  // of a chunk those that suppress: their ranks in it
  int64_t* taking;   // of each image: how many take part
  int64_t* kept;     // and how many are kept so far
  int32_t* winning;  // and how many winners the chunk has
};

template <class T>
struct Rule {
  T threshold, one;
  int64_t most;  // kept of an image
};

// Without a threshold every box takes part.
template <class S>
struct Scores {
  Rows<S> rows;
  bool limited;
  S least;

  __device__ bool take_part(int64_t b, int64_t i) const {
    return !limited || rows.at(b, i) > least;
  }
};

template <class S>
__global__ void make_keys(Scores<S> scores, int64_t count, int64_t* keys) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kChunk + threadIdx.x, b = blockIdx.y;
  if (i >= count) return;
  // Those that take no part come last. (With a threshold no NaN takes part, so that none ties.)
  const uint64_t key = scores.take_part(b, i) ? descending_key(scores.rows.at(b, i)) : ~uint64_t{0};
  keys[b * count + i] = static_cast<int64_t>(key ^ uint64_t{1} << 63);
}

template <class T, class S>
__global__ void begin_images(Scores<S> scores, Ranked<T> ranked) {
  const int64_t b = blockIdx.x;
  int64_t taking = 0;
  for (int64_t first = 0; first < ranked.count; first += kChunk) {
    const int64_t i = first + threadIdx.x;
    taking += __syncthreads_count(i < ranked.count && scores.take_part(b, i));
  }
  if (threadIdx.x) return;
  ranked.taking[b] = taking;
  ranked.kept[b] = 0;
}

template <class T, class S>
__global__ void rank(Rows<T> boxes, Scores<S> scores, Rows<int64_t> groups, T one,
                     Ranked<T> ranked) {
  const int64_t r = static_cast<int64_t>(blockIdx.x) * kChunk + threadIdx.x, b = blockIdx.y;
  if (r >= ranked.count) return;
  const int64_t at = b * ranked.count + r, i = ranked.order[at];
  T box[4];
  for (int side = 0; side < 4; ++side) box[side] = boxes.at(b, i, side);
  ranked.x1[at] = box[0];
  ranked.y1[at] = box[1];
  ranked.x2[at] = box[2];
  ranked.y2[at] = box[3];
  ranked.area[at] = area_of(box, one);
  ranked.group[at] = groups.data ? groups.at(b, i) : 0;
  const S score = scores.rows.at(b, i);
  ranked.gone[at] = r >= ranked.taking[b];
  ranked.mute[at] = score != score;
}

// Boxes in shared memory.
template <class T>
struct Boxes {
  T *x1, *y1, *x2, *y2, *area;
  int64_t* group;

  __device__ void take(int i, const Ranked<T>& from, int64_t at) const {
    x1[i] = from.x1[at];
    y1[i] = from.y1[at];
    x2[i] = from.x2[at];
    y2[i] = from.y2[at];
    area[i] = from.area[at];
    group[i] = from.group[at];
  }
  __device__ bool suppresses(int i, const T* box, T own_area, int64_t own_group,
                             const Rule<T>& rule) const {
    if (group[i] != own_group) return false;
    const T other[4] = {x1[i], y1[i], x2[i], y2[i]};
    const BoxOverlap<T> pair = overlap_of_areas(other, box, area[i], own_area, rule.one);
    return may_exceed(pair, rule.threshold) && iou_of(pair) > rule.threshold;
  }
};

// Declares Boxes `name` of a chunk in shared memory.
#define ROIOPS_SHARED_BOXES(T, name)                                            \
  ROIOPS_SHARED(T, name##_numbers, 5 * kChunk);                                 \
  ROIOPS_SHARED(int64_t, name##_groups, kChunk);                                \
  const Boxes<T> name {                                                         \
    name##_numbers, name##_numbers + kChunk, name##_numbers + 2 * kChunk,       \
        name##_numbers + 3 * kChunk, name##_numbers + 4 * kChunk, name##_groups \
  }

// Which of the ranks [first, first + kChunk) are kept; a block for each image.
template <class T>
__global__ void keep_of_chunk(Ranked<T> ranked, Rule<T> rule, int64_t first, Kept keep) {
  ROIOPS_SHARED_BOXES(T, boxes);
  ROIOPS_SHARED(unsigned long long, later, kChunk* kWords);  // which each one suppresses
  ROIOPS_SHARED(unsigned, lost, kChunk / 32);
  ROIOPS_SHARED(unsigned, won, kChunk / 32);
  const int64_t b = blockIdx.x;
  if (ranked.kept[b] >= rule.most || first >= ranked.taking[b]) {
    if (threadIdx.x == 0) ranked.winning[b] = 0;
    return;
  }
  const int i = threadIdx.x, lane = i % 32, warp = i / 32;
  const int64_t rank = first + i, at = b * ranked.count + rank;
  const bool there = rank < ranked.count;
  const bool gone = !there || ranked.gone[at], mute = there && ranked.mute[at];
  if (there) boxes.take(i, ranked, at);
  const unsigned all_gone = __ballot_sync(0xffffffffu, gone);
  if (lane == 0) lost[warp] = all_gone;
  __syncthreads();

  for (int w = 0; w < kWords; ++w) {
    unsigned long long bits = 0;
    if (!gone && !mute)
      for (int j = w * 64 > i + 1 ? w * 64 : i + 1; j < (w + 1) * 64; ++j) {
        if (lost[j / 32] >> j % 32 & 1u) continue;
        const T box[4] = {boxes.x1[j], boxes.y1[j], boxes.x2[j], boxes.y2[j]};
        if (boxes.suppresses(i, box, boxes.area[j], boxes.group[j], rule)) bits |= 1ull << j % 64;
      }
    later[i * kWords + w] = bits;
  }
  __syncthreads();

  // One after the other; lane w of the first warp has the word w of those that are gone.
  if (warp == 0) {
    unsigned long long out = ~0ull;
    if (lane < kWords)
      out = lost[2 * lane] | static_cast<unsigned long long>(lost[2 * lane + 1]) << 32;
    for (int j = 0; j < kChunk; ++j) {
      const unsigned long long word = __shfl_sync(0xffffffffu, out, j / 64);
      if (word >> j % 64 & 1u) continue;  // the same for all lanes
      if (lane < kWords) out |= later[j * kWords + lane];
    }
    if (lane < kWords) {
      won[2 * lane] = static_cast<unsigned>(~out);
      won[2 * lane + 1] = static_cast<unsigned>(~out >> 32);
    }
  }
  __syncthreads();

  const bool kept = won[warp] >> lane & 1u;
  const unsigned suppressing = __ballot_sync(0xffffffffu, kept && !mute);
  __syncthreads();  // all have read who is gone
  if (lane == 0) lost[warp] = suppressing;
  __syncthreads();
  const unsigned below = (1u << lane) - 1;
  int kept_before = __popc(won[warp] & below), winners_before = __popc(suppressing & below);
  int kept_in_all = 0, winners = 0;
  for (int w = 0; w < kChunk / 32; ++w) {
    if (w < warp) kept_before += __popc(won[w]), winners_before += __popc(lost[w]);
    kept_in_all += __popc(won[w]);
    winners += __popc(lost[w]);
  }
  const int64_t before = ranked.kept[b];
  if (kept && before + kept_before < rule.most) keep.at(b, before + kept_before) = ranked.order[at];
  if (kept && !mute) ranked.winners[b * kChunk + winners_before] = i;
  __syncthreads();  // all have read how many were kept before
  if (i) return;
  ranked.kept[b] = before + kept_in_all < rule.most ? before + kept_in_all : rule.most;
  ranked.winning[b] = winners;
}

// The winners of the chunk before `first` against the ranks from there on, a thread each.
template <class T>
__global__ void suppress_later(Ranked<T> ranked, Rule<T> rule, int64_t first) {
  ROIOPS_SHARED_BOXES(T, boxes);
  const int64_t b = blockIdx.y;
  const int winners = ranked.winning[b];
  if (winners == 0 || ranked.kept[b] >= rule.most) return;
  const int64_t chunk = b * ranked.count + first - kChunk;
  if (static_cast<int>(threadIdx.x) < winners)
    boxes.take(threadIdx.x, ranked, chunk + ranked.winners[b * kChunk + threadIdx.x]);
  __syncthreads();
  const int64_t rank = first + static_cast<int64_t>(blockIdx.x) * kChunk + threadIdx.x;
  const int64_t at = b * ranked.count + rank;
  if (rank >= ranked.count || ranked.gone[at]) return;
  const T box[4] = {ranked.x1[at], ranked.y1[at], ranked.x2[at], ranked.y2[at]};
  const T area = ranked.area[at];
  const int64_t group = ranked.group[at];
  for (int i = 0; i < winners; ++i)
    if (boxes.suppresses(i, box, area, group, rule)) {
      ranked.gone[at] = 1;
      return;
    }
}

__global__ void pad(const int64_t* kept, Kept indices, int64_t* counts, int64_t stride) {
  const int64_t b = blockIdx.x;
  if (threadIdx.x == 0) counts[b * stride] = kept[b];
  for (int64_t i = kept[b] + threadIdx.x; i < indices.size; i += kChunk) indices.at(b, i) = -1;
}

// Writes what is kept to `keep`, (N) or (B, M); how many of each image: in device memory.
template <class T, class S>
const int64_t* suppress(const char* op, const NmsArgs& args, int64_t images, int64_t most,
                        const Array& keep) {
  const bool batched = args.boxes.ndim == 3;
  const int64_t count = args.boxes.shape[batched];
  if (images > 65535 || count > int64_t{kChunk} * 0x7fffffff)
    throw std::invalid_argument(
        message(op, ": boxes must be of at most 65535 images on a GPU; got ", images));
  const Execution& where = args.execution;
  const auto memory = [&](auto one, int64_t numbers) {
    return static_cast<decltype(one)*>(
        where.workspace(static_cast<size_t>(std::max<int64_t>(numbers, 1)) * sizeof one));
  };
  const auto stream = static_cast<cudaStream_t>(where.stream);
  const auto config = [&](int64_t blocks, int64_t rows) {
    return LaunchConfig{dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(rows)),
                        dim3(kChunk), 0, stream};
  };
  const Scores<S> scores{rows_of<S>(args.scores, batched), args.score_threshold.has_value(),
                         static_cast<S>(args.score_threshold.value_or(0))};
  const int64_t chunks = (count + kChunk - 1) / kChunk;
  const Rule<T> rule{static_cast<T>(args.iou_threshold), T(args.plus_one), most};

  Ranked<T> ranked{};
  ranked.count = count;
  ranked.taking = memory(int64_t{}, images);
  ranked.kept = memory(int64_t{}, images);
  check_launch(op,
               launch("nms begin_images", begin_images<T, S>, config(images, 1), scores, ranked));
  if (count == 0) return ranked.kept;

  int64_t* keys = memory(int64_t{}, images * count);
  check_launch(op,
               launch("nms make_keys", make_keys<S>, config(chunks, images), scores, count, keys));
  ranked.order = where.order(keys, images, count);
  T* numbers = memory(T{}, 5 * images * count);
  ranked.x1 = numbers;
  ranked.y1 = numbers + images * count;
  ranked.x2 = numbers + 2 * images * count;
  ranked.y2 = numbers + 3 * images * count;
  ranked.area = numbers + 4 * images * count;
  ranked.group = memory(int64_t{}, images * count);
  ranked.gone = memory(uint8_t{}, images * count);
  ranked.mute = memory(uint8_t{}, images * count);
  ranked.winners = memory(int32_t{}, images * kChunk);
  ranked.winning = memory(int32_t{}, images);
  check_launch(
      op, launch("nms rank", rank<T, S>, config(chunks, images), rows_of<T>(args.boxes, batched),
                 scores, rows_of<int64_t>(args.idxs, batched && args.idxs.data), rule.one, ranked));
  for (int64_t c = 0; c < chunks; ++c) {
    check_launch(op, launch("nms keep_of_chunk", keep_of_chunk<T>, config(images, 1), ranked, rule,
                            c * kChunk, kept_of(keep)));
    if (c + 1 < chunks)
      check_launch(op, launch("nms suppress_later", suppress_later<T>,
                              config(chunks - c - 1, images), ranked, rule, (c + 1) * kChunk));
  }
  return ranked.kept;
}

template <class Body>
void with_types(const NmsArgs& args, const Body& body) {
  dispatch_float(args.boxes.dtype, [&](auto coordinate) {
    dispatch_float(args.scores.dtype, [&](auto score) { body(coordinate, score); });
  });
}

}  // namespace
}  // namespace cuda

using namespace cuda;

int64_t nms(const Array& keep, const NmsArgs& args) {
  check_nms(keep, args);
  check_device(args.execution.device);
  int64_t count = 0;
  with_types(args, [&](auto coordinate, auto score) {
    const int64_t* kept =
        suppress<decltype(coordinate), decltype(score)>("nms", args, 1, args.boxes.shape[0], keep);
    count = read_back(kept, static_cast<cudaStream_t>(args.execution.stream));
  });
  return count;
}

void padded_nms(const Array& indices, const Array& counts, const NmsArgs& args) {
  check_padded_nms(indices, counts, args);
  check_device(args.execution.device);
  const int64_t images = args.boxes.shape[0];
  if (images == 0) return;
  with_types(args, [&](auto coordinate, auto score) {
    const int64_t* kept = suppress<decltype(coordinate), decltype(score)>(
        "padded_nms", args, images, indices.shape[1], indices);
    check_launch("padded_nms",
                 launch("nms pad", pad,
                        {dim3(static_cast<unsigned>(images)), dim3(kChunk), 0,
                         static_cast<cudaStream_t>(args.execution.stream)},
                        kept, kept_of(indices), counts.at<int64_t>(), counts.stride[0]));
  });
}

}  // namespace roiops
