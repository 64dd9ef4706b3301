// The thread pool: tasks with independent results, handed out one by one.
//
// Which thread runs a task never shows in the result: a task owns what it writes, and sums inside a
// task have a fixed order. std::thread rather than OpenMP because a child forked after an OpenMP
// region hangs in its first own region, and because two OpenMP runtimes in one process collide.
#pragma once

#include <cstdint>
#include <functional>

namespace roiops {

// Threads used when a caller does not say: hardware threads this process may run on, or what
// set_num_threads chose.
int num_threads();
void set_num_threads(int threads);

namespace detail {
// `participate` is run once by the calling thread and by up to `threads - 1` others; each call
// draws task numbers from `next` until it returns a value >= tasks.
using Next = std::function<int64_t()>;
void run(int64_t tasks, int threads, const std::function<void(const Next&)>& participate);
}  // namespace detail

// Runs `worker(task)` for task = 0 .. tasks-1, where each participating thread makes its own
// `worker = make_worker()`: the place for scratch memory. The first exception is rethrown here
// after all threads have stopped.
template <class MakeWorker>
void parallel_for(int64_t tasks, int threads, const MakeWorker& make_worker) {
  if (tasks <= 0) return;
  if (threads <= 1 || tasks == 1) {
    auto worker = make_worker();
    for (int64_t task = 0; task < tasks; ++task) worker(task);
    return;
  }
  detail::run(tasks, threads, [&](const detail::Next& next) {
    auto worker = make_worker();
    for (int64_t task = next(); task < tasks; task = next()) worker(task);
  });
}

// Elementwise work: splits [0, n) into ranges of at least `grain` and calls body(begin, end).
template <class Body>
void parallel_ranges(int64_t n, int64_t grain, int threads, const Body& body) {
  const int64_t ranges =
      n < 2 * grain ? 1 : (n / grain < int64_t{8} * threads ? n / grain : int64_t{8} * threads);
  parallel_for(n > 0 ? ranges : 0, threads,
               [&] { return [&](int64_t r) { body(n * r / ranges, n * (r + 1) / ranges); }; });
}

}  // namespace roiops
