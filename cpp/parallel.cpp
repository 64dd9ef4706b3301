#include "roiops/parallel.h"

#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>

namespace roiops {
namespace {

struct Job {
  Job(int64_t tasks, int helpers, const std::function<void(const detail::Next&)>& participate)
      : tasks(tasks), helpers_wanted(helpers), participate(participate) {}

  const int64_t tasks;
  std::atomic<int64_t> next{0};
  int helpers_wanted;  // guarded by Pool::mutex, as are the two below
  int helpers_busy = 0;
  std::exception_ptr error;
  const std::function<void(const detail::Next&)>& participate;
  std::condition_variable finished;
};

thread_local bool inside_task = false;

class Pool {
 public:
  void run(int64_t tasks, int threads,
           const std::function<void(const detail::Next&)>& participate) {
    const int64_t most = tasks < threads ? tasks : threads;
    Job job(tasks, static_cast<int>(most) - 1, participate);
    {
      std::unique_lock<std::mutex> lock(mutex_);
      while (workers_ < job.helpers_wanted) start_worker();
      queue_.push_back(&job);
    }
    wake_.notify_all();
    take_part(job);
    std::unique_lock<std::mutex> lock(mutex_);
    // Helpers that have not come by now find no task left: withdraw the job, wait for the others.
    for (auto it = queue_.begin(); it != queue_.end(); ++it) {
      if (*it == &job) {
        queue_.erase(it);
        break;
      }
    }
    job.finished.wait(lock, [&] { return job.helpers_busy == 0; });
    if (job.error) std::rethrow_exception(job.error);
  }

 private:
  void start_worker() {
    // Detached, and the pool is never destroyed: at process exit there is nobody to join, and
    // static destruction order cannot pull the queue from under a worker.
    std::thread([this] { work(); }).detach();
    ++workers_;
  }

  void work() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      wake_.wait(lock, [&] { return !queue_.empty(); });
      Job& job = *queue_.front();
      if (--job.helpers_wanted == 0) queue_.pop_front();
      ++job.helpers_busy;
      lock.unlock();
      take_part(job);
      lock.lock();
      if (--job.helpers_busy == 0) job.finished.notify_all();
    }
  }

  void take_part(Job& job) {
    const bool outer = inside_task;
    inside_task = true;
    try {
      job.participate([&job] { return job.next.fetch_add(1, std::memory_order_relaxed); });
    } catch (...) {
      job.next.store(job.tasks, std::memory_order_relaxed);  // the others stop at their next draw
      std::lock_guard<std::mutex> lock(mutex_);
      if (!job.error) job.error = std::current_exception();
    }
    inside_task = outer;
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job*> queue_;
  int workers_ = 0;
};

Pool* pool = nullptr;
std::once_flag pool_made;

// The child of a fork has none of the parent's threads, and the parent's mutex in an unknown state:
// it gets a pool of its own. The old one is left alone.
void renew_pool_in_child() { pool = new Pool; }

int available_threads() {
  cpu_set_t cpus;
  if (sched_getaffinity(0, sizeof cpus, &cpus) == 0) return CPU_COUNT(&cpus);
  const unsigned n = std::thread::hardware_concurrency();
  return n ? static_cast<int>(n) : 1;
}

std::atomic<int> chosen_threads{0};

}  // namespace

int num_threads() {
  const int chosen = chosen_threads.load(std::memory_order_relaxed);
  return chosen ? chosen : available_threads();
}

void set_num_threads(int threads) { chosen_threads.store(threads, std::memory_order_relaxed); }

void detail::run(int64_t tasks, int threads, const std::function<void(const Next&)>& participate) {
  if (inside_task) threads = 1;
  if (threads <= 1) {
    int64_t task = 0;
    participate([&] { return task++; });
    return;
  }
  std::call_once(pool_made, [] {
    pool = new Pool;
    pthread_atfork(nullptr, nullptr, renew_pool_in_child);
  });
  pool->run(tasks, threads, participate);
}

}  // namespace roiops
