// The simulator's own random numbers: the same on every machine, and nothing else draws from them.
#pragma once

#include <cstdint>

#include "lease/time.h"

namespace pgsteady::sim {

// splitmix64.
class Rng {
 public:
  explicit Rng(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  // 0 <= result < n; n at least 1.
  std::uint64_t below(std::uint64_t n) { return next() % n; }
  std::int64_t between(std::int64_t least, std::int64_t most) {
    return least + static_cast<std::int64_t>(below(static_cast<std::uint64_t>(most - least + 1)));
  }
  bool one_in(std::uint64_t n) { return below(n) == 0; }
  lease::Duration between(lease::Duration least, lease::Duration most) {
    return lease::Duration(between(least.count(), most.count()));
  }
  // A generator of its own, so that what one part draws does not shift what another gets.
  Rng fork() { return Rng(next()); }

 private:
  std::uint64_t state_;
};

}  // namespace pgsteady::sim
