// RoIAlign on a GPU, with it RoIWarp, the pyramid and the position-sensitive poolings.
//
// Forward: a block has one RoI and some channels, a thread one output at a time, or 16 bytes of
// outputs where channels are neighbours in memory. Where each bin reads, along each axis by itself,
// the block finds once, in shared memory. RoIs whose bins read more cells than that takes are left
// to a second kernel, which finds them at every turn; where the host sees that there are none it is
// not launched.
// Backward to the input: a block owns 8 x 8 cells of one map and 32 of its channels, a thread 8
// numbers of them, in registers (map_tiles.cuh). It visits the RoIs that can reach these cells in
// the order of their index: nothing is added by two threads, and the same bits come out each time.
// Backward to the boxes: a block owns an RoI; its threads' sums are added as a tree. Which outputs
// a thread has does not follow the layout: it would show in the bits. Maximum: the winner's place
// is found for each output, and kept for the backward pass to the input (16 or 24 bytes for each
// output, the only memory of that size).
//
// Bytes moved, of a map of 256 channels and float32 RoIs of 7 x 7 bins: the cells under an RoI once
// per block, the rest from the caches; outputs once. Not measured on a GPU yet.
#include <algorithm>
#include <string>
#include <vector>

#include "bin_tiles.cuh"
#include "compat.cuh"
#include "divide.cuh"
#include "internal/roi_align_check.h"
#include "map_tiles.cuh"
#include "maps.cuh"
#include "roi_align_max.cuh"
#include "roi_align_regions.cuh"
#include "roi_sides.cuh"
#include "roiops/roi_align.h"
#include "value_check.cuh"

namespace roiops {
namespace cuda {
namespace {

// n channels at a time. tabled: of the regions whose axes fit into a table; else of the others.
template <class T, class Acc, class C, int n, bool tabled>
__global__ void mean_forward(Regions<C> all, Pyramid<const T> maps, Maps<T> output,
                             int64_t channels, int64_t chunk) {
  ROIOPS_SHARED(Tap<Acc>, taps, tabled ? 2 * kTaps : 1);
  ROIOPS_SHARED(int32_t, begin, tabled ? 2 * (kBins + 1) : 1);
  const int64_t k = blockIdx.x, first = blockIdx.y * chunk;
  const int64_t count = channels - first < chunk ? channels - first : chunk;
  const Region<C> region = region_at(all, k);
  const Maps<const T> map = maps.level[region.level];
  const auto axis_of = [&](bool along_x) {
    return tap_axis<Acc>(all, region, along_x, map.height, map.width, false);
  };
  const auto y = axis_of(false), x = axis_of(true);
  if ((y.fits() && x.fits()) != tabled) return;  // all threads
  const auto visit = [&](const Tile& tile, const auto& each) {
    for (int64_t i = threadIdx.x; i < tile.items(count / n); i += kThreads) {
      const Item at = tile.item(i, count / n);
      const int64_t c = first + at.channel * n;
      const T* from = &map.at(region.image, all.channel(c, at.y, at.x), 0, 0);
      Acc sum[n] = {};
      each.each_y(at.y, [&](const Tap<Acc>& ty) {
        const T* row = from + ty.cell * map.row;
        Acc along[n] = {};
        each.each_x(at.x, [&](const Tap<Acc>& tx) {
          const auto cell =
              load_vector(reinterpret_cast<const Vector<T, n>*>(row + tx.cell * map.cell));
          ROIOPS_UNROLL for (int l = 0; l < n; ++l) {
            along[l] = multiply_add(tx.weight, read(cell.lane[l]), along[l]);
          }
        });
        ROIOPS_UNROLL for (int l = 0; l < n; ++l) {
          sum[l] = multiply_add(ty.weight, along[l], sum[l]);
        }
      });
      Vector<T, n> result;
      ROIOPS_UNROLL for (int l = 0; l < n; ++l) { write(result.lane[l], sum[l]); }
      store_vector(reinterpret_cast<Vector<T, n>*>(&output.at(k, c, at.y, at.x)), result);
    }
  };
  each_tile_with_taps<tabled>(all, output.channel == 1, axis_of, taps, begin, visit);
}

template <class T, class Acc, class C, bool tabled>
__global__ void mean_grad_rois(Regions<C> all, Pyramid<const T> maps, Maps<const T> grad_output,
                               int64_t channels, C* grad_rois, int64_t roi_stride,
                               int64_t side_stride) {
  ROIOPS_SHARED(Tap<Acc>, taps, tabled ? 2 * kTaps : 1);
  ROIOPS_SHARED(int32_t, begin, tabled ? 2 * (kBins + 1) : 1);
  ROIOPS_SHARED(Acc, shared, 4 * kThreads);
  const int64_t k = blockIdx.x;
  const Region<C> region = region_at(all, k);
  const Maps<const T> map = maps.level[region.level];
  const auto axis_of = [&](bool along_x) {
    return tap_axis<Acc>(all, region, along_x, map.height, map.width, true);
  };
  const auto y = axis_of(false), x = axis_of(true);
  if ((y.fits() && x.fits()) != tabled) return;  // all threads
  Sides<Acc> sums;
  const auto visit = [&](const Tile& tile, const auto& each) {
    for (int64_t i = threadIdx.x; i < tile.items(channels); i += kThreads) {
      const Item at = tile.item(i, channels);
      const T* from = &map.at(region.image, all.channel(at.channel, at.y, at.x), 0, 0);
      Acc x_start = 0, y_start = 0, x_end = 0, y_end = 0;
      bool any = false;
      each.each_y(at.y, [&](const Tap<Acc>& ty) {
        const T* row = from + ty.cell * map.row;
        Acc value = 0, start = 0, end = 0;
        each.each_x(at.x, [&](const Tap<Acc>& tx) {
          const Acc v = read(row[tx.cell * map.cell]);
          value = multiply_add(tx.weight, v, value);
          start = multiply_add(tx.start, v, start);
          end = multiply_add(tx.end, v, end);
          any = true;
        });
        x_start = multiply_add(ty.weight, start, x_start);
        y_start = multiply_add(ty.start, value, y_start);
        x_end = multiply_add(ty.weight, end, x_end);
        y_end = multiply_add(ty.end, value, y_end);
      });
      if (any)
        sums.add(read(grad_output.at(k, at.channel, at.y, at.x)), x_start, y_start, x_end, y_end);
    }
  };
  each_tile_with_taps<tabled>(all, false, axis_of, taps, begin, visit);
  sums.add_up(shared);
  store_sides(grad_rois + k * roi_stride, side_stride, sums);
}

// --- backward to the input -----------------------------------------------------------------------

template <class T, class C>
__global__ void find_reach(Regions<C> all, Pyramid<T> maps, Reach* reach) {
  const int64_t k = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (k >= all.count) return;
  const Region<C> r = region_at(all, k);
  const Maps<T>& map = maps.level[r.level];
  Reach to{r.image, r.level, 0, 0, 0, 0};
  if (std::isfinite(r.axes.y.start) && std::isfinite(r.axes.y.length) &&
      std::isfinite(r.axes.x.start) && std::isfinite(r.axes.x.length)) {
    reach_along(r.axes.y.start, r.axes.y.length, map.height, &to.top, &to.bottom);
    reach_along(r.axes.x.start, r.axes.x.length, map.width, &to.left, &to.right);
  }
  reach[k] = to;
}

// The weights that a tile of bins has for the kSide cells of one axis, and for each cell which bins
// have any. Warp 0 finds those along y, warp 1 along x; a lane has a bin.
template <class Acc>
struct TileWeights {
  static constexpr int kRow = kBins + 1;  // neighbouring cells lie in different banks

  Acc* weight;     // 2 * kSide * kRow
  unsigned* bins;  // 2 * kSide

  template <class AxisOf>  // of a TapAxis, by along_x
  __device__ void find(const AxisOf& axis_of, int64_t first_y, int64_t first_x, int64_t top,
                       int64_t left) const {
    const int warp = threadIdx.x / 32;
    __syncthreads();  // nobody reads those before any more
    if (warp < 2)
      fill(axis_of(warp == 1), warp, warp == 0 ? first_y : first_x, warp == 0 ? top : left);
    __syncthreads();
  }
  __device__ Acc at(int axis, int cell, int bin) const {
    return weight[(axis * kSide + cell) * kRow + bin];
  }

 private:
  template <class C>
  __device__ void fill(const TapAxis<C, Acc>& axis, int which, int64_t first_bin,
                       int64_t first_cell) const {
    const int lane = threadIdx.x % 32;
    Acc* own = weight + which * kSide * kRow + lane;
    for (int i = 0; i < kSide; ++i) own[i * kRow] = 0;
    unsigned reached = 0;
    if (first_bin + lane < axis.bins)
      axis.each_tap(first_bin + lane, first_cell, first_cell + kSide, [&](const Tap<Acc>& tap) {
        const int64_t i = tap.cell - first_cell;
        if (i < 0 || i >= kSide) return;
        own[i * kRow] += tap.weight;
        reached |= 1u << i;
      });
    for (int i = 0; i < kSide; ++i) {
      const unsigned vote = __ballot_sync(0xffffffffu, reached >> i & 1u);
      if (lane == 0) bins[which * kSide + i] = vote;
    }
  }
};

// Of position-sensitive maps: which bin a channel belongs to, and which channel of the output.
struct Belonging {
  int64_t channel, bin;

  __device__ Belonging(int64_t c, int64_t bins) {
    const Split parts = split(c, bins);
    channel = parts.quotient;
    bin = parts.remainder;
  }
  __device__ void step(int64_t bins) {  // to the next channel
    if (++bin == bins) ++channel, bin = 0;
  }
};

// winners: null for the mean, else (K, C, bins) as the outputs are numbered.
template <class T, class Acc, class C, bool by_rows>
__global__ void grad_input(Regions<C> all, Pyramid<T> maps, PyramidTiles tiles,
                           Maps<const T> grad_output, int64_t channels, const Reach* reach,
                           const Winner<C>* winners) {
  ROIOPS_SHARED(int32_t, hits, kThreads);
  ROIOPS_SHARED(int32_t, of_warp, kThreads / 32);
  ROIOPS_SHARED(Acc, weight, 2 * kSide * TileWeights<Acc>::kRow);
  ROIOPS_SHARED(unsigned, bins, 2 * kSide);

  const Place at = place_in<by_rows>(tiles, all.level_count);
  const Maps<T>& map = maps.level[at.level];
  const int64_t pooled = all.bins_y * all.bins_x;
  const TileWeights<Acc> weights{weight, bins};
  const Belonging own_belongs(all.position_sensitive ? at.own : 0, pooled);

  Acc sum[kOwn] = {};
  const auto add = [](Acc& to, Acc part, const T& gradient) {
    if (part != Acc(0)) to = multiply_add(part, read(gradient), to);
  };
  for (int64_t first = 0; first < all.count; first += kThreads) {
    const int found =
        collect(first, all.count, [&](int64_t k) { return at.meets(reach[k]); }, hits, of_warp);
    for (int h = 0; h < found; ++h) {
      const int64_t k = first + hits[h];
      const auto axis_of = [&](bool along_x) {  // by the warps that find weights
        return tap_axis<Acc>(all, region_at(all, k), along_x, map.height, map.width, false);
      };
      each_tile(all.bins_y, all.bins_x, false, [&](const Tile& t) {
        weights.find(axis_of, t.top, t.left, at.top, at.left);
        unsigned across = bins[kSide + at.x];
        if (by_rows)
          for (int i = 1; i < kSide; ++i) across |= bins[kSide + i];
        for (unsigned ys = bins[at.y]; ys; ys &= ys - 1) {
          const int py = __ffs(static_cast<int>(ys)) - 1;
          const Acc along_y = weights.at(0, at.y, py);
          for (unsigned xs = across; xs; xs &= xs - 1) {
            const int px = __ffs(static_cast<int>(xs)) - 1;
            const int64_t bin_y = t.top + py, bin_x = t.left + px;
            const int64_t bin = bin_y * all.bins_x + bin_x;
            const Winner<C>* won = winners + (k * channels + at.own) * pooled + bin;
            const T* from = &grad_output.at(k, at.own, bin_y, bin_x);
            const int64_t y = at.top + at.y, x = at.left + at.x;
            if (all.position_sensitive) {
              Belonging belongs = own_belongs;
              ROIOPS_UNROLL for (int i = 0; i < kOwn; ++i) {
                if (belongs.bin == bin && at.own + (by_rows ? 0 : i) < channels)
                  add(sum[i], along_y * weights.at(1, at.x + (by_rows ? i : 0), px),
                      grad_output.at(k, belongs.channel, bin_y, bin_x));
                if (!by_rows) belongs.step(pooled);
              }
            } else if (winners) {
              ROIOPS_UNROLL for (int i = 0; i < kOwn; ++i) {
                if (at.own + (by_rows ? 0 : i) < channels)
                  add(sum[i],
                      winners_weight<Acc>(won[by_rows ? 0 : i * pooled], y, by_rows ? x + i : x),
                      from[by_rows ? 0 : i * grad_output.channel]);
              }
            } else {
              ROIOPS_UNROLL for (int i = 0; i < kOwn; ++i) {
                if (at.own + (by_rows ? 0 : i) < channels)
                  add(sum[i], along_y * weights.at(1, at.x + (by_rows ? i : 0), px),
                      from[by_rows ? 0 : i * grad_output.channel]);
              }
            }
          }
        }
      });
    }
    __syncthreads();  // the hits have been read
  }
  store_own<by_rows>(map, at, channels, sum);
}

// --- launches ------------------------------------------------------------------------------------

template <class C>
Regions<C> regions_of(const std::string& op, const RoiAlignArgs& args, int64_t bins_y,
                      int64_t bins_x) {
  const Array& levels = args.levels;
  Regions<C> all{args.rois.at<C>(),
                 args.rois.stride[0],
                 args.rois.stride[1],
                 levels.at<int64_t>(),
                 levels.data ? levels.stride[0] : 0,
                 args.inputs[0].shape[0],
                 args.rois.shape[0],
                 static_cast<int>(args.inputs.size()),
                 args.placement,
                 args.position_sensitive,
                 args.sampling_ratio,
                 bins_y,
                 bins_x,
                 {}};
  check_count(op, all.count);
  for (size_t l = 0; l < args.spatial_scales.size() && l < kMaxLevels; ++l)
    all.scale[l] = args.spatial_scales[l];
  return all;
}

// Whether n channels lie together, as one aligned vector, in all maps and in the output.
template <class T>
bool moves_as_vectors(const std::vector<Array>& inputs, const Array& output, int n) {
  const auto fits = [n](const Array& a) {
    bool aligned = a.stride[1] == 1 && reinterpret_cast<uintptr_t>(a.data) % (n * sizeof(T)) == 0;
    for (int d : {0, 2, 3}) aligned = aligned && a.stride[d] % n == 0;
    return aligned && a.shape[1] % n == 0;
  };
  return fits(output) && std::all_of(inputs.begin(), inputs.end(), fits);
}

// Whether no region can have more taps than a table takes, as far as the host knows.
bool always_fit(const RoiAlignArgs& args, const Array& pooled) {
  const bool fixed = args.sampling_ratio > 0 && args.placement != Placement::cells;
  const double grid = fixed ? static_cast<double>(args.sampling_ratio) : INFINITY;
  const bool descending = args.placement == Placement::aligned;
  return std::all_of(args.inputs.begin(), args.inputs.end(), [&](const Array& map) {
    return most_taps(pooled.shape[2], INFINITY, grid, map.shape[2], descending) <= kTaps &&
           most_taps(pooled.shape[3], INFINITY, grid, map.shape[3], descending) <= kTaps;
  });
}

template <class Body>
void with_types(const RoiAlignArgs& args, const Body& body) {
  dispatch_features(args.inputs[0].dtype, [&](auto stored, auto summed) {
    dispatch_float(args.rois.dtype, [&](auto coordinate) { body(stored, summed, coordinate); });
  });
}

}  // namespace
}  // namespace cuda

using namespace cuda;

void roi_align_forward(const Array& output, const RoiAlignArgs& args,
                       const std::vector<Array>& values) {
  const std::string op = op_name(args);
  check_roi_align(op, args, output, "output");
  if (!values.empty()) check_like_inputs(op, "values", values, args);
  if (output.size() == 0) return;
  check_device(args.execution.device);
  check_values(op, args.rois, args.levels, args.inputs[0].shape[0],
               static_cast<int64_t>(args.inputs.size()), args.execution);
  with_types(args, [&](auto stored, auto summed, auto coordinate) {
    using T = decltype(stored);
    using Acc = decltype(summed);
    using C = decltype(coordinate);
    const auto all = regions_of<C>(op, args, output.shape[2], output.shape[3]);
    const auto maps = pyramid_of<const T>(op.c_str(), args.inputs);
    const int64_t channels = output.shape[1];
    const LaunchConfig config{grid_of(all.count, channels), dim3(kThreads), 0,
                              static_cast<cudaStream_t>(args.execution.stream)};
    if (args.max) {
      check_launch(op, launch("roi_align max_forward", max_forward<T, Acc, C>, config, all, maps,
                              pyramid_of<const T>(op.c_str(), values), maps_of<T>(output), channels,
                              chunk_of(channels), static_cast<Winner<C>*>(nullptr)));
      return;
    }
    const auto pool = [&](auto kernel) {
      check_launch(op, launch("roi_align mean_forward", kernel, config, all, maps,
                              maps_of<T>(output), channels, chunk_of(channels)));
    };
    constexpr int n = 16 / sizeof(T);
    const bool vectors = moves_as_vectors<T>(args.inputs, output, n) && !args.position_sensitive;
    pool(vectors ? mean_forward<T, Acc, C, n, true> : mean_forward<T, Acc, C, 1, true>);
    if (!always_fit(args, output)) pool(mean_forward<T, Acc, C, 1, false>);
  });
}

void roi_align_grad_input(const std::vector<Array>& grad_inputs, const Array& grad_output,
                          const RoiAlignArgs& args) {
  const std::string op = op_name(args, "_backward");
  check_roi_align(op, args, grad_output, "grad_output");
  check_like_inputs(op, "grad_input", grad_inputs, args);
  check_device(args.execution.device);
  check_values(op, args.rois, args.levels, args.inputs[0].shape[0],
               static_cast<int64_t>(args.inputs.size()), args.execution);
  with_types(args, [&](auto stored, auto summed, auto coordinate) {
    using T = decltype(stored);
    using Acc = decltype(summed);
    using C = decltype(coordinate);
    const auto all = regions_of<C>(op, args, grad_output.shape[2], grad_output.shape[3]);
    const auto maps = pyramid_of<T>(op.c_str(), grad_inputs);
    const auto stream = static_cast<cudaStream_t>(args.execution.stream);
    const int64_t channels = args.inputs[0].shape[1];

    PyramidTiles tiles;
    const dim3 grid = grid_of_tiles(op, grad_inputs, &tiles);
    if (grid.x == 0 || grid.y == 0) return;
    auto* reach = static_cast<Reach*>(
        args.execution.workspace(std::max<int64_t>(all.count, 1) * sizeof(Reach)));
    if (all.count)
      check_launch(
          op, launch("roi_align find_reach", find_reach<T, C>,
                     {grid_of_threads(all.count), dim3(kThreads), 0, stream}, all, maps, reach));
    Winner<C>* winners = nullptr;
    if (args.max && grad_output.size()) {
      winners =
          static_cast<Winner<C>*>(args.execution.workspace(grad_output.size() * sizeof(Winner<C>)));
      const auto inputs = pyramid_of<const T>(op.c_str(), args.inputs);
      check_launch(op,
                   launch("roi_align winners", max_forward<T, Acc, C>,
                          {grid_of(all.count, channels), dim3(kThreads), 0, stream}, all, inputs,
                          Pyramid<const T>{}, Maps<T>{}, channels, chunk_of(channels), winners));
    }
    check_launch(op, launch("roi_align grad_input",
                            channels_are_last(grad_inputs) ? grad_input<T, Acc, C, true>
                                                           : grad_input<T, Acc, C, false>,
                            {grid, dim3(kThreads), 0, stream}, all, maps, tiles,
                            maps_of<const T>(grad_output), channels, reach, winners));
  });
}

void roi_align_grad_rois(const Array& result, const Array& grad_output, const RoiAlignArgs& args) {
  const std::string op = op_name(args, "_backward");
  check_roi_align(op, args, grad_output, "grad_output");
  check_grad_rois(op, result, args);
  if (result.size() == 0) return;
  check_device(args.execution.device);
  check_values(op, args.rois, args.levels, args.inputs[0].shape[0],
               static_cast<int64_t>(args.inputs.size()), args.execution);
  with_types(args, [&](auto stored, auto summed, auto coordinate) {
    using T = decltype(stored);
    using Acc = decltype(summed);
    using C = decltype(coordinate);
    const auto all = regions_of<C>(op, args, grad_output.shape[2], grad_output.shape[3]);
    const auto maps = pyramid_of<const T>(op.c_str(), args.inputs);
    const LaunchConfig config{dim3(static_cast<unsigned>(all.count)), dim3(kThreads), 0,
                              static_cast<cudaStream_t>(args.execution.stream)};
    const auto pool = [&](auto kernel) {
      check_launch(op, launch("roi_align grad_rois", kernel, config, all, maps,
                              maps_of<const T>(grad_output), grad_output.shape[1], result.at<C>(),
                              result.stride[0], result.stride[1]));
    };
    if (args.max) return pool(max_grad_rois<T, Acc, C>);
    pool(mean_grad_rois<T, Acc, C, true>);
    if (!always_fit(args, grad_output)) pool(mean_grad_rois<T, Acc, C, false>);
  });
}

}  // namespace roiops
