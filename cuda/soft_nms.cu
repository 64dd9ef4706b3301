// Soft-NMS on a GPU. The boxes are put in the order of their groups (by the caller's library); a
// block for each group then selects the best that is left, again and again, while the scores of the
// others decay: a pass over the group for each box selected, in which every thread has boxes of its
// own. At last the caller's library sorts by the scores of selection. The host waits once, for how
// many there are.
//
// Time grows with the square of the largest group: a group is one block's. Bytes moved: the boxes
// of a group (from the cache, where they fit) once for each box selected. Not measured on a GPU
// yet.
#include <algorithm>

#include "choose.cuh"
#include "internal/soft_nms_check.h"
#include "internal/soft_nms_kernels.h"
#include "internal/sort_keys.h"
#include "roiops/geometry.h"
#include "roiops/soft_nms.h"

namespace roiops {
namespace cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int64_t kMostBlocks = 4096;  // where there are more groups, a block has several

// In the order of their groups.
template <class T, class S>
struct Candidates {
  int64_t count;
  const int64_t* order;  // null: as they were given
  T* sides[4];
  S* score;     // of what is left; -1: dropped or selected
  S* selected;  // as they were given: the score of selection, or -1

  __device__ int64_t given(int64_t at) const { return order ? order[at] : at; }
  __device__ void load(T* box, int64_t at) const {
    for (int c = 0; c < 4; ++c) box[c] = sides[c][at];
  }
};

struct GroupKeys {
  Strided<const int64_t> idxs;
  int64_t* keys;

  __device__ void operator()(int64_t i) const { keys[i] = idxs.at(i); }
};

template <class T, class S>
struct Gather {
  Strided<const T> boxes;
  Strided<const S> scores;
  S score_threshold;
  Candidates<T, S> to;

  __device__ void operator()(int64_t at) const {
    const int64_t i = to.given(at);
    for (int c = 0; c < 4; ++c) to.sides[c][at] = boxes.at(i, c);
    const S score = scores.at(i);
    to.score[at] = score >= score_threshold ? score : S(-1);
    to.selected[i] = S(-1);
  }
};

struct BeginsGroup {
  const int64_t *order, *keys;  // null: one group

  __device__ bool operator()(int64_t at) const {
    return at == 0 || (order && keys[order[at]] != keys[order[at - 1]]);
  }
};

struct GroupBegin {
  int64_t* begin;

  __device__ void operator()(int64_t place, int64_t at) const { begin[place] = at; }
};

// A score and whose it is; the better one of two does not depend on their order.
template <class S>
struct Best {
  S score;
  int64_t at;

  __device__ void meet(S other_score, int64_t other_at) {
    if (other_score > score || (other_score == score && other_at < at)) {
      score = other_score;
      at = other_at;
    }
  }
};

template <class T, class S>
__global__ void decay_groups(Candidates<T, S> boxes, const int64_t* begins, const int64_t* groups,
                             DecayRule<T> rule, S score_threshold) {
  // Twice, so that one barrier is enough: who writes the one set has seen all read the other.
  ROIOPS_SHARED(S, warp_score, 2 * kWarps);
  ROIOPS_SHARED(int64_t, warp_at, 2 * kWarps);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const T unchanged = unchanging_overlap(rule);
  int set = 0;
  for (int64_t group = blockIdx.x; group < *groups; group += gridDim.x) {
    const int64_t begin = begins[group];
    const int64_t end = group + 1 < *groups ? begins[group + 1] : boxes.count;
    int64_t winner = -1;
    T by[4] = {};
    while (true) {
      Best<S> best{S(-1), end};
      for (int64_t at = begin + threadIdx.x; at < end; at += kThreads) {
        S score = boxes.score[at];
        if (score < 0) continue;
        if (at == winner) {
          boxes.selected[boxes.given(at)] = score;
          boxes.score[at] = S(-1);
          continue;
        }
        if (winner >= 0) {
          T box[4];
          boxes.load(box, at);
          const T iou = roiops::box_iou(by, box, T(0));
          if (iou > unchanged) {
            const T factor = decay_factor(rule.method, iou, rule.iou_threshold, rule.sigma);
            const S decayed = decayed_score(score, factor);
            score = decayed >= score_threshold ? decayed : S(-1);
            boxes.score[at] = score;
          }
        }
        best.meet(score, at);
      }
      for (int bits = 16; bits; bits /= 2) {
        const S score = __shfl_xor_sync(0xffffffffu, best.score, bits);
        best.meet(score, __shfl_xor_sync(0xffffffffu, best.at, bits));
      }
      if (lane == 0) {
        warp_score[set * kWarps + warp] = best.score;
        warp_at[set * kWarps + warp] = best.at;
      }
      __syncthreads();
      for (int w = 0; w < kWarps; ++w)
        best.meet(warp_score[set * kWarps + w], warp_at[set * kWarps + w]);
      set = 1 - set;
      if (best.score < 0) break;  // the same for all threads
      winner = best.at;
      boxes.load(by, winner);
    }
  }
}

template <class S>
struct SelectionKeys {
  const S* selected;
  int64_t* keys;

  __device__ void operator()(int64_t i) const {
    const uint64_t key = selected[i] < 0 ? ~uint64_t{0} : descending_key(selected[i]);
    keys[i] = static_cast<int64_t>(key ^ uint64_t{1} << 63);
  }
};

// By descending score; those that were dropped come last, and the first of them says how many
// there are before it.
template <class S>
struct WriteSelected {
  Strided<int64_t> keep;
  Strided<S> new_scores;
  const int64_t* order;
  const S* selected;
  int64_t count;
  int64_t* kept;

  __device__ void operator()(int64_t place) const {
    const int64_t i = order[place];
    const S score = selected[i];
    if (score < 0) {
      if (place == 0) *kept = 0;
      return;
    }
    keep.at(place) = i;
    new_scores.at(place) = score;
    if (place + 1 == count || selected[order[place + 1]] < 0) *kept = place + 1;
  }
};

template <class T, class S>
int64_t soft_nms_of(const Array& keep, const Array& new_scores, const SoftNmsArgs& args) {
  const char* op = "soft_nms";
  const Execution& where = args.execution;
  const int64_t count = args.scores.shape[0];
  const auto memory = [&](auto one, int64_t numbers) {
    return static_cast<decltype(one)*>(where.workspace(static_cast<size_t>(numbers) * sizeof one));
  };
  const S score_threshold = static_cast<S>(args.score_threshold);
  int64_t* const keys = memory(int64_t{}, count);
  Candidates<T, S> boxes{};
  boxes.count = count;
  if (args.idxs.data) {
    for_each(op, count, where, GroupKeys{Strided<const int64_t>(args.idxs), keys});
    boxes.order = where.order(keys, 1, count);
  }
  for (T*& side : boxes.sides) side = memory(T{}, count);
  boxes.score = memory(S{}, count);
  boxes.selected = memory(S{}, count);
  for_each(op, count, where,
           Gather<T, S>{Strided<const T>(args.boxes), Strided<const S>(args.scores),
                        score_threshold, boxes});

  int64_t* const begins = memory(int64_t{}, count);
  const int64_t* groups =
      choose(op, count, where, BeginsGroup{boxes.order, keys}, GroupBegin{begins});
  const int64_t blocks = boxes.order ? std::min(count, kMostBlocks) : 1;
  const auto stream = static_cast<cudaStream_t>(where.stream);
  check_launch(op, launch("soft_nms decay", decay_groups<T, S>,
                          {dim3(static_cast<unsigned>(blocks)), dim3(kThreads), 0, stream}, boxes,
                          begins, groups, decay_rule<T>(args), score_threshold));

  int64_t* const by_score = memory(int64_t{}, count);
  int64_t* const kept = memory(int64_t{}, 1);
  for_each(op, count, where, SelectionKeys<S>{boxes.selected, by_score});
  const int64_t* order = where.order(by_score, 1, count);
  for_each(op, count, where,
           WriteSelected<S>{Strided<int64_t>(keep), Strided<S>(new_scores), order, boxes.selected,
                            count, kept});
  return read_back(kept, stream);
}

}  // namespace
}  // namespace cuda

using namespace cuda;

int64_t soft_nms(const Array& keep, const Array& new_scores, const SoftNmsArgs& args) {
  check_soft_nms(keep, new_scores, args);
  check_device(args.execution.device);
  if (args.scores.shape[0] == 0) return 0;
  return dispatch_float(args.boxes.dtype, [&](auto coordinate) {
    return dispatch_float(args.scores.dtype, [&](auto score) {
      return soft_nms_of<decltype(coordinate), decltype(score)>(keep, new_scores, args);
    });
  });
}

}  // namespace roiops
