// RoIAlign's mean, vectorised over 16 channels. Compiled once per instruction set with contraction
// allowed: nothing here decides anything, stencils are given.
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

  static void forward(Acc* result, In input, const Roi& roi) {
    for (int64_t ph = 0; ph < roi.y.bins; ++ph) {
      const BinRange rows = roi.y.ranges[ph];
      const Acc* wy = roi.y.weights + rows.begin;
      for (int64_t pw = 0; pw < roi.x.bins; ++pw, result += L) {
        const BinRange cols = roi.x.ranges[pw];
        const Acc* wx = roi.x.weights + cols.begin;
        Vec sum = Vec::zero();
        const Acc* row = input.data + rows.first * input.row + cols.first * input.cell;
        for (int32_t j = 0; j < rows.count; ++j, row += input.row) {
          Vec row_sum = Vec::zero();
          const Acc* cell = row;
          for (int32_t i = 0; i < cols.count; ++i, cell += input.cell)
            row_sum.add_scaled(wx[i], Vec::load(cell));
          sum.add_scaled(wy[j], row_sum);
        }
        sum.store(result);
      }
    }
  }

  static void grad_input(Out grad_input, const Acc* grad, const Roi& roi) {
    for (int64_t ph = 0; ph < roi.y.bins; ++ph) {
      const BinRange rows = roi.y.ranges[ph];
      const Acc* wy = roi.y.weights + rows.begin;
      for (int64_t pw = 0; pw < roi.x.bins; ++pw, grad += L) {
        const BinRange cols = roi.x.ranges[pw];
        const Acc* wx = roi.x.weights + cols.begin;
        const Vec g = Vec::load(grad);
        Acc* row = grad_input.data + rows.first * grad_input.row + cols.first * grad_input.cell;
        for (int32_t j = 0; j < rows.count; ++j, row += grad_input.row) {
          const Vec row_grad = g.scaled(wy[j]);
          Acc* cell = row;
          for (int32_t i = 0; i < cols.count; ++i, cell += grad_input.cell) {
            Vec sum = Vec::load(cell);
            sum.add_scaled(wx[i], row_grad);
            sum.store(cell);
          }
        }
      }
    }
  }

  // With F the bin's patch: d/dx1 = wy F sx', d/dx2 = wy F ex', d/dy1 = sy F wx', d/dy2 = ey F wx'.
  static void grad_rois(Acc* sums, In input, const Acc* grad, const Roi& roi) {
    Vec x1 = Vec::load(sums), y1 = Vec::load(sums + L);
    Vec x2 = Vec::load(sums + 2 * L), y2 = Vec::load(sums + 3 * L);
    for (int64_t ph = 0; ph < roi.y.bins; ++ph) {
      const BinRange rows = roi.y.ranges[ph];
      for (int64_t pw = 0; pw < roi.x.bins; ++pw, grad += L) {
        const BinRange cols = roi.x.ranges[pw];
        const Acc* wx = roi.x.weights + cols.begin;
        const Acc* sx = roi.x.start_weights + cols.begin;
        const Acc* ex = roi.x.end_weights + cols.begin;
        Vec by_x1 = Vec::zero(), by_x2 = Vec::zero(), by_y1 = Vec::zero(), by_y2 = Vec::zero();
        const Acc* row = input.data + rows.first * input.row + cols.first * input.cell;
        for (int32_t j = 0; j < rows.count; ++j, row += input.row) {
          Vec value = Vec::zero(), start = Vec::zero(), end = Vec::zero();
          const Acc* cell = row;
          for (int32_t i = 0; i < cols.count; ++i, cell += input.cell) {
            const Vec f = Vec::load(cell);
            value.add_scaled(wx[i], f);
            start.add_scaled(sx[i], f);
            end.add_scaled(ex[i], f);
          }
          const int64_t r = rows.begin + j;
          by_x1.add_scaled(roi.y.weights[r], start);
          by_x2.add_scaled(roi.y.weights[r], end);
          by_y1.add_scaled(roi.y.start_weights[r], value);
          by_y2.add_scaled(roi.y.end_weights[r], value);
        }
        const Vec g = Vec::load(grad);
        x1.add_product(g, by_x1);
        y1.add_product(g, by_y1);
        x2.add_product(g, by_x2);
        y2.add_product(g, by_y2);
      }
    }
    x1.store(sums);
    y1.store(sums + L);
    x2.store(sums + 2 * L);
    y2.store(sums + 3 * L);
  }

  static constexpr RoiAlignMeanKernels<Acc> table() { return {forward, grad_input, grad_rois}; }
};

}  // namespace

const RoiAlignMeanKernels<float> roi_align_mean_float = Kernels<float>::table();
const RoiAlignMeanKernels<double> roi_align_mean_double = Kernels<double>::table();

}  // namespace ROIOPS_ISA
}  // namespace roiops
