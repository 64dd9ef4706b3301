// RoIAlign's mean, vectorised over 16 channels. Compiled once per instruction set with contraction
// allowed: nothing here decides anything, stencils are given.
//
// Stencils are separable, and neighbouring bins share rows: a row is pooled along x once, for all
// bins of the RoI, and kept while the next bins below may ask for it.
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
  using Axis = AxisStencil<Acc>;
  static constexpr int L = ROIOPS_LANES;
  static constexpr int kAtOnce = kRowSlots / 2;

  // Up to four rows in use and where they are kept. The next ones keep those they share, and take
  // what neither uses: twice four slots suffice, whatever rows are asked for.
  struct Rows {
    int count = 0;
    int32_t row[kAtOnce];
    int slot[kAtOnce];

    int slots() const {
      int mask = 0;
      for (int i = 0; i < count; ++i) mask |= 1 << slot[i];
      return mask;
    }
    int find(int32_t wanted) const {
      for (int i = 0; i < count; ++i)
        if (row[i] == wanted) return slot[i];
      return -1;
    }
    void add(int32_t new_row, int new_slot) {
      row[count] = new_row;
      slot[count++] = new_slot;
    }
    // Calls make(row, slot) for those of the `wanted` that are new.
    template <class Make>
    void change(const int32_t* wanted, int number, Make make) {
      Rows next;
      int taken = slots();
      for (int i = 0; i < number; ++i) {
        int at = find(wanted[i]);
        if (at < 0) {
          at = __builtin_ctz(~taken);
          taken |= 1 << at;
          make(wanted[i], at);
        }
        next.add(wanted[i], at);
      }
      *this = next;
    }
  };

  static int at_once(int32_t left) { return left < kAtOnce ? left : kAtOnce; }

  // Calls bin(pw, cells, weights, count) for each; with the count as a constant where all have the
  // same, so that the loops over it disappear.
  template <int32_t even, class Function>
  static void even_bins(const Axis& x, const Acc* weights, Function bin) {
    const int64_t begin = x.ranges[0].begin;
    for (int64_t pw = 0; pw < x.bins; ++pw)
      bin(pw, x.cells + begin + pw * even, weights + begin + pw * even, even);
  }
  template <class Function>
  static void each_bin(const Axis& x, const Acc* weights, Function bin) {
    switch (x.even) {
      case 1:
        return even_bins<1>(x, weights, bin);
      case 2:
        return even_bins<2>(x, weights, bin);
      case 3:
        return even_bins<3>(x, weights, bin);
      case 4:
        return even_bins<4>(x, weights, bin);
      default:
        for (int64_t pw = 0; pw < x.bins; ++pw) {
          const BinRange r = x.ranges[pw];
          bin(pw, x.cells + r.begin, weights + r.begin, r.count);
        }
    }
  }

  // out[pw] = sum of the bin's cells in this row.
  static void pool_row(Acc* out, const Acc* row, int64_t cell, const Axis& x, const Acc* weights) {
    each_bin(x, weights, [&](int64_t pw, const int32_t* cells, const Acc* w, int32_t count) {
      Vec sum = Vec::zero();
      for (int32_t i = 0; i < count; ++i) sum.add_scaled(w[i], Vec::load(row + cells[i] * cell));
      sum.store(out + pw * L);
    });
  }

  // result[pw] (+)= sum over `number` rows.
  template <int number>
  static void add_rows(Acc* result, const Acc* const* rows, const Acc* weights, int64_t bins,
                       bool first) {
    for (int64_t at = 0; at < bins * L; at += L) {
      Vec sum = first ? Vec::zero() : Vec::load(result + at);
      for (int j = 0; j < number; ++j) sum.add_scaled(weights[j], Vec::load(rows[j] + at));
      sum.store(result + at);
    }
  }

  static void forward(Acc* result, In input, const Roi& roi, Acc* scratch) {
    const int64_t width = roi.x.bins * L;
    Rows rows;
    for (int64_t ph = 0; ph < roi.y.bins; ++ph, result += width) {
      const BinRange range = roi.y.ranges[ph];
      const int32_t* cells = roi.y.cells + range.begin;
      const Acc* weights = roi.y.weights + range.begin;
      int32_t done = 0;
      do {
        const int number = at_once(range.count - done);
        rows.change(cells + done, number, [&](int32_t row, int slot) {
          pool_row(scratch + slot * width, input.data + row * input.row, input.cell, roi.x,
                   roi.x.weights);
        });
        const Acc* pooled[kAtOnce];
        for (int j = 0; j < number; ++j) pooled[j] = scratch + rows.slot[j] * width;
        constexpr decltype(&add_rows<0>) add[] = {add_rows<0>, add_rows<1>, add_rows<2>,
                                                  add_rows<3>, add_rows<4>};
        add[number](result, pooled, weights + done, roi.x.bins, done == 0);
        done += number;
      } while (done < range.count);
    }
  }

  // The transpose of forward: a row's gradient is collected bin by bin, then spread along x.
  static void grad_input(Out grad_input, const Acc* grad, const Roi& roi, Acc* scratch) {
    const int64_t width = roi.x.bins * L;
    const auto spread = [&](int32_t row, int slot) {
      const Acc* from = scratch + slot * width;
      Acc* to = grad_input.data + row * grad_input.row;
      each_bin(roi.x, roi.x.weights,
               [=](int64_t pw, const int32_t* cells, const Acc* w, int32_t count) {
                 const Vec g = Vec::load(from + pw * L);
                 for (int32_t i = 0; i < count; ++i) {
                   Acc* cell = to + cells[i] * grad_input.cell;
                   Vec sum = Vec::load(cell);
                   sum.add_scaled(w[i], g);
                   sum.store(cell);
                 }
               });
    };
    Rows rows;
    for (int64_t ph = 0; ph < roi.y.bins; ++ph, grad += width) {
      const BinRange range = roi.y.ranges[ph];
      for (int32_t done = 0; done < range.count;) {
        const int number = at_once(range.count - done);
        const int32_t* cells = roi.y.cells + range.begin + done;
        const Rows before = rows;
        int fresh = 0;
        rows.change(cells, number, [&](int32_t, int slot) { fresh |= 1 << slot; });
        for (int i = 0; i < before.count; ++i)
          if (rows.find(before.row[i]) < 0) spread(before.row[i], before.slot[i]);
        for (int j = 0; j < number; ++j) {
          const Acc weight = roi.y.weights[range.begin + done + j];
          Acc* to = scratch + rows.slot[j] * width;
          const bool first = fresh >> rows.slot[j] & 1;
          for (int64_t at = 0; at < width; at += L) {
            Vec sum = first ? Vec::zero() : Vec::load(to + at);
            sum.add_scaled(weight, Vec::load(grad + at));
            sum.store(to + at);
          }
        }
        done += number;
      }
    }
    for (int i = 0; i < rows.count; ++i) spread(rows.row[i], rows.slot[i]);
  }

  // With F the bin's patch: d/dx1 = wy F sx', d/dx2 = wy F ex', d/dy1 = sy F wx', d/dy2 = ey F wx'.
  static void grad_rois(Acc* sums, In input, const Acc* grad, const Roi& roi, Acc* scratch) {
    const int64_t width = roi.x.bins * L, slot_size = 3 * width;
    Vec x1 = Vec::load(sums), y1 = Vec::load(sums + L);
    Vec x2 = Vec::load(sums + 2 * L), y2 = Vec::load(sums + 3 * L);
    Rows rows;
    for (int64_t ph = 0; ph < roi.y.bins; ++ph, grad += width) {
      const BinRange range = roi.y.ranges[ph];
      for (int32_t done = 0; done < range.count;) {
        const int number = at_once(range.count - done);
        rows.change(roi.y.cells + range.begin + done, number, [&](int32_t row, int slot) {
          const Acc* from = input.data + row * input.row;
          Acc* to = scratch + slot * slot_size;
          pool_row(to, from, input.cell, roi.x, roi.x.weights);
          pool_row(to + width, from, input.cell, roi.x, roi.x.start_weights);
          pool_row(to + 2 * width, from, input.cell, roi.x, roi.x.end_weights);
        });
        for (int j = 0; j < number; ++j) {
          const int64_t at = range.begin + done + j;
          const Acc* pooled = scratch + rows.slot[j] * slot_size;
          Vec value = Vec::zero(), start = Vec::zero(), end = Vec::zero();
          for (int64_t pw = 0; pw < roi.x.bins; ++pw) {
            if (roi.x.ranges[pw].count == 0) continue;  // whatever its gradient is, also NaN
            const int64_t i = pw * L;
            const Vec g = Vec::load(grad + i);
            value.add_product(g, Vec::load(pooled + i));
            start.add_product(g, Vec::load(pooled + width + i));
            end.add_product(g, Vec::load(pooled + 2 * width + i));
          }
          x1.add_scaled(roi.y.weights[at], start);
          x2.add_scaled(roi.y.weights[at], end);
          y1.add_scaled(roi.y.start_weights[at], value);
          y2.add_scaled(roi.y.end_weights[at], value);
        }
        done += number;
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
