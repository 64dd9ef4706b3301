// Sixteen lanes of T in as many registers as the instruction set needs. Only for *.isa.cpp files.
#pragma once

#include "roiops/config.h"

namespace roiops {
namespace ROIOPS_ISA {

template <class T>
struct Lanes {
  static constexpr int kWidth = ROIOPS_VECTOR_BYTES / sizeof(T);
  static constexpr int kRegisters = ROIOPS_LANES / kWidth;
  typedef T Register __attribute__((vector_size(ROIOPS_VECTOR_BYTES)));
  typedef decltype(Register{} < Register{}) Mask;
  Register v[kRegisters];

  static Lanes load(const T* p) {
    Lanes r;
    for (int i = 0; i < kRegisters; ++i)
      __builtin_memcpy(&r.v[i], p + i * kWidth, sizeof(Register));
    return r;
  }
  static Lanes zero() {
    Lanes r;
    for (int i = 0; i < kRegisters; ++i) r.v[i] = Register{};
    return r;
  }
  void store(T* p) const {
    for (int i = 0; i < kRegisters; ++i) __builtin_memcpy(p + i * kWidth, &v[i], sizeof(Register));
  }
  // this += s * x; contracted to a fused multiply-add where the file is compiled to allow it.
  void add_scaled(T s, const Lanes& x) {
    for (int i = 0; i < kRegisters; ++i) v[i] = v[i] + s * x.v[i];
  }
  void add_product(const Lanes& x, const Lanes& y) {
    for (int i = 0; i < kRegisters; ++i) v[i] = v[i] + x.v[i] * y.v[i];
  }
  // The greater of both, lane by lane; of equal ones this; a NaN for good.
  void raise(const Lanes& x) {
    for (int i = 0; i < kRegisters; ++i) v[i] = stays(v[i], x.v[i]) ? v[i] : x.v[i];
  }
  static Mask stays(Register v, Register x) { return (x <= v) | (v != v); }
  Lanes scaled(T s) const {
    Lanes r;
    for (int i = 0; i < kRegisters; ++i) r.v[i] = s * v[i];
    return r;
  }
};

// A maximum that remembers, in each lane, the number that came with it.
template <class T>
struct Winner {
  using Vec = Lanes<T>;
  using Mask = typename Vec::Mask;
  typedef __typeof__(Mask{}[0]) Number;  // an integer of T's size
  Vec best;
  Mask number[Vec::kRegisters];

  Winner(const Vec& x, Number its) : best(x) {
    for (int i = 0; i < Vec::kRegisters; ++i) number[i] = Mask{} + its;
  }
  // As Lanes::raise.
  void raise(const Vec& x, Number its) {
    for (int i = 0; i < Vec::kRegisters; ++i) {
      const Mask stays = Vec::stays(best.v[i], x.v[i]);
      best.v[i] = stays ? best.v[i] : x.v[i];
      number[i] = stays ? number[i] : its;
    }
  }
};

}  // namespace ROIOPS_ISA
}  // namespace roiops
