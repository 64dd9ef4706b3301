// Maps to and from blocks of 16 channels. Where channels lie apart, tiles of one vector's width are
// transposed in registers: element by element, this took longer than the pooling itself.
#include "internal/channel_blocks_kernels.h"
#include "internal/simd.h"
#include "internal/tile.h"

#if defined(__F16C__)
#include <immintrin.h>
#endif

namespace roiops {
namespace ROIOPS_ISA {
namespace {

template <class T, class Acc>
void convert(Acc* to, const T* from, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] = widen(from[i]);
}
template <class T, class Acc>
void convert_back(T* to, const Acc* from, int64_t count) {
  for (int64_t i = 0; i < count; ++i) narrow(to[i], from[i]);
}
#if defined(__F16C__)
// One instruction instead of some twenty; it rounds as narrow() does.
void convert(float* to, const Float16* from, int64_t count) {
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i));
    _mm256_storeu_ps(to + i, _mm256_cvtph_ps(halves));
  }
  for (; i < count; ++i) to[i] = widen(from[i]);
}
void convert_back(Float16* to, const float* from, int64_t count) {
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m128i halves = _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i), halves);
  }
  for (; i < count; ++i) narrow(to[i], from[i]);
}
#endif

template <class T>
struct Kernels {
  using Block = ChannelBlock<T>;
  using Acc = typename ChannelBlockKernels<T>::Acc;
  static constexpr int L = ROIOPS_LANES, W = Tile<Acc>::W;
  static constexpr int64_t kCells = 256;  // of 16 channels in the first cache

  // Only what has the sums' type can be read where it lies.
  static const float* as_sums(const float* x) { return x; }
  static const double* as_sums(const double* x) { return x; }
  template <class Half>
  static const float* as_sums(const Half*) {
    return nullptr;
  }

  // Rows without a gap between them are one.
  static void join_rows(const Block& block, int64_t& rows, int64_t& cols) {
    if (block.row != cols * block.cell) return;
    cols *= rows;
    rows = 1;
  }

  // Calls tile(x) for tiles of W cells that cover `cols`; the last may overlap the one before.
  template <class Function>
  static void tiles(int64_t cols, Function tile) {
    int64_t x = 0;
    for (; x + W <= cols; x += W) tile(x);
    if (x < cols) tile(cols < W ? 0 : cols - W);
  }

  static void load(Acc* to, const Block& from, int64_t rows, int64_t cols) {
    join_rows(from, rows, cols);
    for (int64_t y = 0; y < rows; ++y, to += cols * L) {
      const T* row = from.data + y * from.row;
      if (from.channel == 1 && from.lanes == L) {
        for (int64_t x = 0; x < cols; ++x) convert(to + x * L, row + x * from.cell, L);
      } else if (from.channel == 1) {
        for (int64_t x = 0; x < cols; ++x) {
          convert(to + x * L, row + x * from.cell, from.lanes);
          for (int lane = from.lanes; lane < L; ++lane) to[x * L + lane] = Acc(0);
        }
      } else if (from.cell == 1) {
        for (int64_t x = 0; x < cols; x += kCells)
          load_cells(to + x * L, row + x, from, cols - x < kCells ? cols - x : kCells);
      } else {
        for (int lane = 0; lane < L; ++lane)
          for (int64_t x = 0; x < cols; ++x)
            to[x * L + lane] =
                lane < from.lanes ? widen(row[lane * from.channel + x * from.cell]) : Acc(0);
      }
    }
  }

  static void load_cells(Acc* to, const T* from, const Block& block, int64_t cells) {
    Acc buffer[L * kCells];
    const Acc* source = as_sums(from);
    int64_t channel = block.channel;
    if (!source || block.lanes < L || cells < W) {
      channel = cells < W ? W : cells;
      for (int lane = 0; lane < L; ++lane) {
        Acc* copy = buffer + lane * channel;
        if (lane < block.lanes)
          convert(copy, from + lane * block.channel, cells);
        else
          for (int64_t x = 0; x < cells; ++x) copy[x] = Acc(0);
      }
      source = buffer;
    }
    for (int lane = 0; lane < L; lane += W)
      tiles(cells, [&](int64_t x) {
        Tile<Acc>::transpose(to + x * L + lane, L, source + lane * channel + x, channel, cells - x);
      });
  }

  static void store(const Block& to, const Acc* from, int64_t rows, int64_t cols) {
    join_rows(to, rows, cols);
    for (int64_t y = 0; y < rows; ++y, from += cols * L) {
      T* row = to.data + y * to.row;
      if (to.channel == 1 && to.lanes == L) {
        for (int64_t x = 0; x < cols; ++x) convert_back(row + x * to.cell, from + x * L, L);
      } else if (to.channel == 1) {
        for (int64_t x = 0; x < cols; ++x) convert_back(row + x * to.cell, from + x * L, to.lanes);
      } else if (to.cell == 1 && cols >= W) {
        for (int64_t x = 0; x < cols; x += kCells) {
          const int64_t cells = cols - x < kCells ? cols - x : kCells;
          if (cells < W)  // together with cells that were stored before
            store_cells(row + cols - W, from + (cols - W) * L, to, W);
          else
            store_cells(row + x, from + x * L, to, cells);
        }
      } else {
        for (int lane = 0; lane < to.lanes; ++lane)
          for (int64_t x = 0; x < cols; ++x)
            narrow(row[lane * to.channel + x * to.cell], from[x * L + lane]);
      }
    }
  }

  // Through a buffer: stores that miss the cache on as many lines as there are channels wait for
  // each other, those of a copy in order do not.
  static void store_cells(T* to, const Acc* from, const Block& block, int64_t cells) {
    Acc buffer[L * kCells];
    for (int lane = 0; lane < block.lanes; lane += W)
      tiles(cells, [&](int64_t x) {
        Tile<Acc>::transpose(buffer + lane * cells + x, cells, from + x * L + lane, L);
      });
    if (block.channel == cells) {
      convert_back(to, buffer, block.lanes * cells);
    } else {
      for (int lane = 0; lane < block.lanes; ++lane)
        convert_back(to + lane * block.channel, buffer + lane * cells, cells);
    }
  }

  static constexpr ChannelBlockKernels<T> table() { return {load, store}; }
};

}  // namespace

const ChannelBlockKernels<Float16> channel_blocks_float16 = Kernels<Float16>::table();
const ChannelBlockKernels<BFloat16> channel_blocks_bfloat16 = Kernels<BFloat16>::table();
const ChannelBlockKernels<float> channel_blocks_float = Kernels<float>::table();
const ChannelBlockKernels<double> channel_blocks_double = Kernels<double>::table();

}  // namespace ROIOPS_ISA
}  // namespace roiops
