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

  // What a sample is worth: 0 outside the map.
  static Vec interpolate(In input, const SampleTaps<Acc>& ty, const SampleTaps<Acc>& tx) {
    if (!ty.valid || !tx.valid) return Vec::zero();
    const Acc* low = input.data + ty.low * input.row;
    const Acc* high = input.data + ty.high * input.row;
    Vec sum = Vec::load(low + tx.low * input.cell).scaled(ty.weight_low * tx.weight_low);
    sum.add_scaled(ty.weight_low * tx.weight_high, Vec::load(low + tx.high * input.cell));
    sum.add_scaled(ty.weight_high * tx.weight_low, Vec::load(high + tx.low * input.cell));
    sum.add_scaled(ty.weight_high * tx.weight_high, Vec::load(high + tx.high * input.cell));
    return sum;
  }

  // The first wins among equals; the first NaN wins all. A bin without samples is 0.
  static void forward(Acc* result, In input, const Roi& roi) {
    for (int64_t ph = 0; ph < roi.y.bins; ++ph) {
      for (int64_t pw = 0; pw < roi.x.bins; ++pw, result += L) {
        const BinRange rows = roi.y.ranges[ph], cols = roi.x.ranges[pw];
        const SampleTaps<Acc>* ty = roi.y.samples + rows.begin;
        const SampleTaps<Acc>* tx = roi.x.samples + cols.begin;
        Vec best = rows.count && cols.count ? interpolate(input, ty[0], tx[0]) : Vec::zero();
        for (int32_t j = 0; j < rows.count; ++j)
          for (int32_t i = j == 0; i < cols.count; ++i)
            best.raise(interpolate(input, ty[j], tx[i]));
        best.store(result);
      }
    }
  }

  // Calls winner(lane, row sample, column sample, bin) for each lane in which a sample inside the
  // map wins, as in the forward pass.
  template <class Function>
  static void each_winner(In input, const Roi& roi, Function winner) {
    using Number = typename Winner<Acc>::Number;
    for (int64_t ph = 0, bin = 0; ph < roi.y.bins; ++ph) {
      for (int64_t pw = 0; pw < roi.x.bins; ++pw, ++bin) {
        const BinRange rows = roi.y.ranges[ph], cols = roi.x.ranges[pw];
        if (!rows.count || !cols.count) continue;
        const SampleTaps<Acc>* ty = roi.y.samples + rows.begin;
        const SampleTaps<Acc>* tx = roi.x.samples + cols.begin;
        // A sample's number is its column in the lower bits, its row in the upper ones.
        const int bits = 32 - __builtin_clz(static_cast<unsigned>(cols.count));
        Winner<Acc> best(interpolate(input, ty[0], tx[0]), 0);
        for (int32_t j = 0; j < rows.count; ++j)
          for (int32_t i = j == 0; i < cols.count; ++i)
            best.raise(interpolate(input, ty[j], tx[i]), j << bits | i);
        Number samples[L];
        __builtin_memcpy(samples, best.number, sizeof samples);
        for (int l = 0; l < L; ++l) {
          const Number row = samples[l] >> bits;
          const SampleTaps<Acc>&y = ty[row], &x = tx[samples[l] - (row << bits)];
          if (y.valid && x.valid) winner(l, y, x, bin);
        }
      }
    }
  }

  static void directional(Acc* result, In input, In values, const Roi& roi) {
    for (int64_t i = 0; i < roi.y.bins * roi.x.bins * L; ++i) result[i] = Acc(0);
    each_winner(input, roi, [&](int lane, const auto& ty, const auto& tx, int64_t bin) {
      const Acc* low = values.data + ty.low * values.row + lane;
      const Acc* high = values.data + ty.high * values.row + lane;
      result[bin * L + lane] = ty.weight_low * tx.weight_low * low[tx.low * values.cell] +
                               ty.weight_low * tx.weight_high * low[tx.high * values.cell] +
                               ty.weight_high * tx.weight_low * high[tx.low * values.cell] +
                               ty.weight_high * tx.weight_high * high[tx.high * values.cell];
    });
  }

  static void grad_input(Out grad_input, In input, const Acc* grad, const Roi& roi) {
    each_winner(input, roi, [&](int lane, const auto& ty, const auto& tx, int64_t bin) {
      const Acc g = grad[bin * L + lane];
      Acc* low = grad_input.data + ty.low * grad_input.row + lane;
      Acc* high = grad_input.data + ty.high * grad_input.row + lane;
      // A cell without weight gets nothing, not the NaN of an infinite gradient times 0.
      const auto add = [g](Acc& to, Acc along_y, Acc along_x) {
        if (along_y != Acc(0) && along_x != Acc(0)) to += g * along_y * along_x;
      };
      add(low[tx.low * grad_input.cell], ty.weight_low, tx.weight_low);
      add(low[tx.high * grad_input.cell], ty.weight_low, tx.weight_high);
      add(high[tx.low * grad_input.cell], ty.weight_high, tx.weight_low);
      add(high[tx.high * grad_input.cell], ty.weight_high, tx.weight_high);
    });
  }

  static void grad_rois(Acc* sums, In input, const Acc* grad, const Roi& roi) {
    each_winner(input, roi, [&](int lane, const auto& ty, const auto& tx, int64_t bin) {
      const Acc g = grad[bin * L + lane];
      const Acc* low = input.data + ty.low * input.row + lane;
      const Acc* high = input.data + ty.high * input.row + lane;
      const Acc v1 = low[tx.low * input.cell], v2 = low[tx.high * input.cell];
      const Acc v3 = high[tx.low * input.cell], v4 = high[tx.high * input.cell];
      const Acc by_x = ty.weight_low * (v2 - v1) + ty.weight_high * (v4 - v3);
      const Acc by_y = tx.weight_low * (v3 - v1) + tx.weight_high * (v4 - v2);
      sums[lane] += g * by_x * tx.slope_start;
      sums[L + lane] += g * by_y * ty.slope_start;
      sums[2 * L + lane] += g * by_x * tx.slope_end;
      sums[3 * L + lane] += g * by_y * ty.slope_end;
    });
  }

  static constexpr RoiAlignMaxKernels<Acc> table() {
    return {forward, directional, grad_input, grad_rois};
  }
};

}  // namespace

const RoiAlignMaxKernels<float> roi_align_max_float = Kernels<float>::table();
const RoiAlignMaxKernels<double> roi_align_max_double = Kernels<double>::table();

}  // namespace ROIOPS_ISA
}  // namespace roiops
