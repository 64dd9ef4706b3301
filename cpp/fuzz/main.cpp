// Throws random cases at every operator of the core, built with sanitizers (make fuzz).
//
//   roiops_fuzz [CASES [FIRST]]
//
// A case is a number: the same number is the same case, on every machine. It may end in a result or
// in one of the core's exceptions. Each is run twice, on outputs full of different rubbish and with
// different numbers of threads: what was written must be the same bits, all of them. A case that
// takes long stops the run. The number of a case that fails is the last line printed.
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "operators.h"

namespace {

constexpr unsigned kMostSeconds = 20;
volatile uint64_t running = 0;

void too_long(int) {
  char text[64];
  const int n = std::snprintf(text, sizeof text, "case %llu: more than %u seconds\n",
                              static_cast<unsigned long long>(running), kMostSeconds);
  if (write(2, text, n) < 0) _exit(4);
  _exit(3);
}

void say_case() { std::fprintf(stderr, "case %llu\n", static_cast<unsigned long long>(running)); }

}  // namespace

// The sanitizers call these when they report.
extern "C" void __asan_on_error() { say_case(); }
extern "C" void __ubsan_on_report() { say_case(); }
extern "C" void __tsan_on_report(void*) { say_case(); }

int main(int argc, char** argv) {
  const uint64_t cases = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1'000'000;
  const uint64_t first = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 0;
  signal(SIGALRM, too_long);
  roiops::fuzz::Tally tally;
  double slowest = 0;
  uint64_t slowest_case = first;
  for (running = first; running < first + cases; running = running + 1) {
    alarm(kMostSeconds);
    const auto start = std::chrono::steady_clock::now();
    try {
      roiops::fuzz::run_case(running, tally);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
      say_case();
      return 1;
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    if (took.count() > slowest) {
      slowest = took.count();
      slowest_case = running;
    }
  }
  alarm(0);
  for (const auto& [name, counts] : tally)
    std::printf("%-24s %9lld results, %9lld refused\n", name.c_str(),
                static_cast<long long>(counts.results), static_cast<long long>(counts.refused));
  std::printf("%llu cases; the slowest took %.2f s (case %llu)\n",
              static_cast<unsigned long long>(cases), slowest,
              static_cast<unsigned long long>(slowest_case));
}
