// RoIAlign's maximum, vectorised over 16 channels. Compiled once per instruction set, without
// contraction: which sample wins must not depend on the machine.
#include "internal/roi_align_kernels.h"
#include "internal/simd.h"

namespace roiops {
namespace ROIOPS_ISA {
namespace {

template <class Acc>
struct Kernels {
  using Vec = Lanes<Acc>;
  using In = Block<const Acc>;
  using Out = Block<Acc>;
  using Roi = RoiStencil<Acc>;
  static constexpr int L = ROIOPS_LANES;

  // The bin's winning sample of each lane, as (row sample, column sample); -1 where a sample
  // outside the map (worth 0) wins or there is none. The first wins among equals; the first NaN
  // wins all.
  struct Winners {
    Acc best[L];
    int32_t y[L], x[L];
  };

  static void find_winners(Winners& w, In input, const Roi& roi, BinRange rows, BinRange cols) {
    for (int l = 0; l < L; ++l) {
      w.best[l] = Acc(0);
      w.y[l] = w.x[l] = -1;
    }
    bool any = false;
    for (int32_t j = 0; j < rows.count; ++j) {
      const SampleTaps<Acc>& ty = roi.y.samples[rows.begin + j];
      for (int32_t i = 0; i < cols.count; ++i) {
        const SampleTaps<Acc>& tx = roi.x.samples[cols.begin + i];
        Acc value[L];
        const bool valid = interpolate(value, input, ty, tx);
        const int32_t at_y = valid ? j : -1, at_x = valid ? i : -1;
        for (int l = 0; l < L; ++l) {
          const bool wins = !any || (!(value[l] <= w.best[l]) && w.best[l] == w.best[l]);
          w.best[l] = wins ? value[l] : w.best[l];
          w.y[l] = wins ? at_y : w.y[l];
          w.x[l] = wins ? at_x : w.x[l];
        }
        any = true;
      }
    }
  }

  static bool interpolate(Acc* value, In input, const SampleTaps<Acc>& ty,
                          const SampleTaps<Acc>& tx) {
    if (!ty.valid || !tx.valid) {
      Vec::zero().store(value);
      return false;
    }
    const Acc* low = input.data + ty.low * input.row;
    const Acc* high = input.data + ty.high * input.row;
    Vec sum = Vec::load(low + tx.low * input.cell).scaled(ty.weight_low * tx.weight_low);
    sum.add_scaled(ty.weight_low * tx.weight_high, Vec::load(low + tx.high * input.cell));
    sum.add_scaled(ty.weight_high * tx.weight_low, Vec::load(high + tx.low * input.cell));
    sum.add_scaled(ty.weight_high * tx.weight_high, Vec::load(high + tx.high * input.cell));
    sum.store(value);
    return true;
  }

  static void forward(Acc* result, In input, In values, const Roi& roi) {
    Winners w;
    for (int64_t ph = 0; ph < roi.y.bins; ++ph) {
      for (int64_t pw = 0; pw < roi.x.bins; ++pw, result += L) {
        const BinRange rows = roi.y.ranges[ph], cols = roi.x.ranges[pw];
        find_winners(w, input, roi, rows, cols);
        for (int l = 0; l < L; ++l) result[l] = w.best[l];
        if (!values.data) continue;
        for (int l = 0; l < L; ++l) {
          result[l] = Acc(0);
          if (w.y[l] < 0) continue;
          const SampleTaps<Acc>& ty = roi.y.samples[rows.begin + w.y[l]];
          const SampleTaps<Acc>& tx = roi.x.samples[cols.begin + w.x[l]];
          const Acc* low = values.data + ty.low * values.row + l;
          const Acc* high = values.data + ty.high * values.row + l;
          result[l] = ty.weight_low * tx.weight_low * low[tx.low * values.cell] +
                      ty.weight_low * tx.weight_high * low[tx.high * values.cell] +
                      ty.weight_high * tx.weight_low * high[tx.low * values.cell] +
                      ty.weight_high * tx.weight_high * high[tx.high * values.cell];
        }
      }
    }
  }

  static void grad_input(Out grad_input, In input, const Acc* grad, const Roi& roi) {
    Winners w;
    for (int64_t ph = 0; ph < roi.y.bins; ++ph) {
      for (int64_t pw = 0; pw < roi.x.bins; ++pw, grad += L) {
        const BinRange rows = roi.y.ranges[ph], cols = roi.x.ranges[pw];
        find_winners(w, input, roi, rows, cols);
        for (int l = 0; l < L; ++l) {
          if (w.y[l] < 0) continue;
          const SampleTaps<Acc>& ty = roi.y.samples[rows.begin + w.y[l]];
          const SampleTaps<Acc>& tx = roi.x.samples[cols.begin + w.x[l]];
          Acc* low = grad_input.data + ty.low * grad_input.row + l;
          Acc* high = grad_input.data + ty.high * grad_input.row + l;
          low[tx.low * grad_input.cell] += grad[l] * ty.weight_low * tx.weight_low;
          low[tx.high * grad_input.cell] += grad[l] * ty.weight_low * tx.weight_high;
          high[tx.low * grad_input.cell] += grad[l] * ty.weight_high * tx.weight_low;
          high[tx.high * grad_input.cell] += grad[l] * ty.weight_high * tx.weight_high;
        }
      }
    }
  }

  static void grad_rois(Acc* sums, In input, const Acc* grad, const Roi& roi) {
    Winners w;
    for (int64_t ph = 0; ph < roi.y.bins; ++ph) {
      for (int64_t pw = 0; pw < roi.x.bins; ++pw, grad += L) {
        const BinRange rows = roi.y.ranges[ph], cols = roi.x.ranges[pw];
        find_winners(w, input, roi, rows, cols);
        for (int l = 0; l < L; ++l) {
          if (w.y[l] < 0) continue;
          const SampleTaps<Acc>& ty = roi.y.samples[rows.begin + w.y[l]];
          const SampleTaps<Acc>& tx = roi.x.samples[cols.begin + w.x[l]];
          const Acc* low = input.data + ty.low * input.row + l;
          const Acc* high = input.data + ty.high * input.row + l;
          const Acc v1 = low[tx.low * input.cell], v2 = low[tx.high * input.cell];
          const Acc v3 = high[tx.low * input.cell], v4 = high[tx.high * input.cell];
          const Acc by_x = ty.weight_low * (v2 - v1) + ty.weight_high * (v4 - v3);
          const Acc by_y = tx.weight_low * (v3 - v1) + tx.weight_high * (v4 - v2);
          sums[l] += grad[l] * by_x * tx.slope_start;
          sums[L + l] += grad[l] * by_y * ty.slope_start;
          sums[2 * L + l] += grad[l] * by_x * tx.slope_end;
          sums[3 * L + l] += grad[l] * by_y * ty.slope_end;
        }
      }
    }
  }

  static constexpr RoiAlignMaxKernels<Acc> table() { return {forward, grad_input, grad_rois}; }
};

}  // namespace

const RoiAlignMaxKernels<float> roi_align_max_float = Kernels<float>::table();
const RoiAlignMaxKernels<double> roi_align_max_double = Kernels<double>::table();

}  // namespace ROIOPS_ISA
}  // namespace roiops
