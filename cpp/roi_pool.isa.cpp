// RoIPool's inner loops, vectorised over 16 channels.
#include "internal/roi_pool_kernels.h"
#include "internal/simd.h"

namespace roiops {
namespace ROIOPS_ISA {
namespace {

template <class Acc>
struct Kernels {
  using Vec = Lanes<Acc>;
  static constexpr int L = ROIOPS_LANES;

  static bool empty(CellRange rows, CellRange cols) {
    return rows.begin >= rows.end || cols.begin >= cols.end;
  }

  static void forward(Acc* result, Block<const Acc> input, const PoolBins& bins) {
    for (int64_t ph = 0; ph < bins.rows; ++ph) {
      for (int64_t pw = 0; pw < bins.cols; ++pw, result += L) {
        const CellRange rows = bins.y[ph], cols = bins.x[pw];
        if (empty(rows, cols)) {
          Vec::zero().store(result);
          continue;
        }
        const Acc* row = input.data + rows.begin * input.row + cols.begin * input.cell;
        Vec best = Vec::load(row);
        for (int32_t y = rows.begin; y < rows.end; ++y, row += input.row) {
          const Acc* cell = row;
          for (int32_t x = cols.begin; x < cols.end; ++x, cell += input.cell)
            best.raise(Vec::load(cell));
        }
        best.store(result);
      }
    }
  }

  // Each lane's winning cell, as the forward pass finds it.
  struct Winners {
    Acc best[L];
    int32_t y[L], x[L];
  };

  static void find_winners(Winners& w, Block<const Acc> input, CellRange rows, CellRange cols) {
    const Acc* row = input.data + rows.begin * input.row + cols.begin * input.cell;
    for (int l = 0; l < L; ++l) {
      w.best[l] = row[l];
      w.y[l] = rows.begin;
      w.x[l] = cols.begin;
    }
    for (int32_t y = rows.begin; y < rows.end; ++y, row += input.row) {
      const Acc* cell = row;
      for (int32_t x = cols.begin; x < cols.end; ++x, cell += input.cell) {
        for (int l = 0; l < L; ++l) {
          const bool wins = !(cell[l] <= w.best[l]) && w.best[l] == w.best[l];
          w.best[l] = wins ? cell[l] : w.best[l];
          w.y[l] = wins ? y : w.y[l];
          w.x[l] = wins ? x : w.x[l];
        }
      }
    }
  }

  static void directional(Acc* result, Block<const Acc> input, Block<const Acc> values,
                          const PoolBins& bins) {
    Winners w;
    for (int64_t ph = 0; ph < bins.rows; ++ph) {
      for (int64_t pw = 0; pw < bins.cols; ++pw, result += L) {
        Vec::zero().store(result);
        if (empty(bins.y[ph], bins.x[pw])) continue;
        find_winners(w, input, bins.y[ph], bins.x[pw]);
        for (int l = 0; l < L; ++l)
          result[l] = values.data[w.y[l] * values.row + w.x[l] * values.cell + l];
      }
    }
  }

  static void grad_input(Block<Acc> grad_input, Block<const Acc> input, const Acc* grad,
                         const PoolBins& bins) {
    Winners w;
    for (int64_t ph = 0; ph < bins.rows; ++ph) {
      for (int64_t pw = 0; pw < bins.cols; ++pw, grad += L) {
        if (empty(bins.y[ph], bins.x[pw])) continue;
        find_winners(w, input, bins.y[ph], bins.x[pw]);
        for (int l = 0; l < L; ++l)
          grad_input.data[w.y[l] * grad_input.row + w.x[l] * grad_input.cell + l] += grad[l];
      }
    }
  }

  static constexpr RoiPoolKernels<Acc> table() { return {forward, directional, grad_input}; }
};

}  // namespace

const RoiPoolKernels<float> roi_pool_float = Kernels<float>::table();
const RoiPoolKernels<double> roi_pool_double = Kernels<double>::table();

}  // namespace ROIOPS_ISA
}  // namespace roiops
