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

  // Calls winner(lane, cell, bin) for each lane of each bin that is not empty, with the cell that
  // the forward pass takes: its row times `width`, plus its column.
  template <class Function>
  static void each_winner(Block<const Acc> input, int32_t width, const PoolBins& bins,
                          Function winner) {
    using Number = typename Winner<Acc>::Number;
    for (int64_t ph = 0, bin = 0; ph < bins.rows; ++ph) {
      for (int64_t pw = 0; pw < bins.cols; ++pw, ++bin) {
        const CellRange rows = bins.y[ph], cols = bins.x[pw];
        if (empty(rows, cols)) continue;
        const Acc* row = input.data + rows.begin * input.row + cols.begin * input.cell;
        Winner<Acc> best(Vec::load(row), rows.begin * width + cols.begin);
        for (int32_t y = rows.begin; y < rows.end; ++y, row += input.row) {
          const Acc* cell = row;
          for (int32_t x = cols.begin; x < cols.end; ++x, cell += input.cell)
            best.raise(Vec::load(cell), y * width + x);
        }
        Number cells[L];
        __builtin_memcpy(cells, best.number, sizeof cells);
        for (int l = 0; l < L; ++l) winner(l, cells[l], bin);
      }
    }
  }

  static void directional(Acc* result, Block<const Acc> input, Block<const Acc> values,
                          int32_t width, const PoolBins& bins) {
    for (int64_t i = 0; i < bins.rows * bins.cols * L; ++i) result[i] = Acc(0);
    each_winner(input, width, bins, [&](int lane, int32_t cell, int64_t bin) {
      result[bin * L + lane] =
          values.data[cell / width * values.row + cell % width * values.cell + lane];
    });
  }

  static void grad_input(Acc* grad_input, Block<const Acc> input, const Acc* grad, int32_t width,
                         const PoolBins& bins) {
    each_winner(input, width, bins, [&](int lane, int64_t cell, int64_t bin) {
      grad_input[cell * L + lane] += grad[bin * L + lane];
    });
  }

  static constexpr RoiPoolKernels<Acc> table() { return {forward, directional, grad_input}; }
};

}  // namespace

const RoiPoolKernels<float> roi_pool_float = Kernels<float>::table();
const RoiPoolKernels<double> roi_pool_double = Kernels<double>::table();

}  // namespace ROIOPS_ISA
}  // namespace roiops
