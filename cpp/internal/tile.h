// Small matrices transposed in registers. Only for *.isa.cpp files.
#pragma once

#include "internal/simd.h"

namespace roiops {
namespace ROIOPS_ISA {

template <int... I>
struct Sequence {};
template <int N, int... I>
struct FirstIntegers : FirstIntegers<N - 1, N - 1, I...> {};
template <int... I>
struct FirstIntegers<0, I...> {
  using Type = Sequence<I...>;
};

// Matrices of W x W elements, W of them to a register.
template <class T>
struct Tile {
  using Register = typename Lanes<T>::Register;
  static constexpr int W = Lanes<T>::kWidth;
  // 128 bits: within them, registers of every width are rearranged at the least cost.
  static constexpr int E = 16 / sizeof(T);
  typedef T Piece __attribute__((vector_size(16)));
  typedef T UnalignedPiece __attribute__((vector_size(16), aligned(sizeof(T)), may_alias));

  template <class V, int... I>
  static auto joined(V a, V b, Sequence<I...>) {
    return __builtin_shufflevector(a, b, I...);
  }
  // Of `count` rows E apart, the pieces at `from`, side by side.
  template <int count>
  static auto join(const T* from, int64_t row) {
    if constexpr (count == 1) {
      return Piece(*reinterpret_cast<const UnalignedPiece*>(from));
    } else {
      return joined(join<count / 2>(from, row), join<count / 2>(from + count / 2 * E * row, row),
                    typename FirstIntegers<count * E>::Type());
    }
  }
  // In each piece, its lower or upper halves of a and b take turns.
  template <bool upper, int... I>
  static Register zip(Register a, Register b, Sequence<I...>) {
    return __builtin_shufflevector(a, b,
                                   (I % 2 * W + I / E * E + (upper ? E / 2 : 0) + I % E / 2)...);
  }
  // Each piece of E registers, taken as a matrix.
  static void transpose_pieces(Register* r) {
    using All = typename FirstIntegers<W>::Type;
    for (int round = 1; round < E; round *= 2) {
      Register next[E];
#pragma GCC unroll 16
      for (int i = 0; i < E / 2; ++i) {
        next[2 * i] = zip<false>(r[i], r[i + E / 2], All());
        next[2 * i + 1] = zip<true>(r[i], r[i + E / 2], All());
      }
#pragma GCC unroll 16
      for (int i = 0; i < E; ++i) r[i] = next[i];
    }
  }
  // to[j][i] = from[i][j] for W rows of `from`, and of its `columns` the first `wanted`.
  template <int columns = W>
  static void transpose(T* to, int64_t to_row, const T* from, int64_t from_row,
                        int64_t wanted = columns) {
#pragma GCC unroll 16
    for (int j = 0; j < columns; j += E) {
      Register r[E];
#pragma GCC unroll 16
      for (int i = 0; i < E; ++i) r[i] = join<W / E>(from + i * from_row + j, from_row);
      transpose_pieces(r);
#pragma GCC unroll 16
      for (int i = 0; i < E; ++i)
        if (j + i < wanted) __builtin_memcpy(to + (j + i) * to_row, r + i, sizeof r[i]);
    }
  }
  // to[c][i] = column c of 4 of row i.
  static void columns_of(T* to, int64_t to_row, const T* from, int64_t row, int64_t column,
                         int64_t count) {
    int64_t i = 0;
    if (column == 1)
      for (; i + W <= count; i += W) transpose<4>(to + i, to_row, from + i * row, row);
    for (; i < count; ++i)
      for (int c = 0; c < 4; ++c) to[c * to_row + i] = from[i * row + c * column];
  }
  // The way back from W columns to rows of 4: to[j][i] = from[i][j].
  static void untranspose(T* to, int64_t to_row, const T* from, int64_t from_row) {
#pragma GCC unroll 16
    for (int i = 0; i < 4; i += E) {
      Register r[E];
#pragma GCC unroll 16
      for (int k = 0; k < E; ++k) __builtin_memcpy(r + k, from + (i + k) * from_row, sizeof r[k]);
      transpose_pieces(r);
#pragma GCC unroll 16
      for (int k = 0; k < E; ++k)
#pragma GCC unroll 16
        for (int piece = 0; piece < W / E; ++piece)
          __builtin_memcpy(to + (piece * E + k) * to_row + i,
                           reinterpret_cast<const char*>(r + k) + 16 * piece, 16);
    }
  }
};

}  // namespace ROIOPS_ISA
}  // namespace roiops
