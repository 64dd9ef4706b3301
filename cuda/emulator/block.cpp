// The threads of one block, the barriers at which they wait for each other, and what warps do.
#include <algorithm>
#include <numeric>
#include <string>

#include "emulator/findings.h"
#include "emulator/machine.h"

namespace roiops::emulator {

Place place;
Block* block = nullptr;
Settings settings;
std::mt19937_64 randomness;

namespace {

std::string text(Site site) {
  const std::string file = site.file;
  return file.substr(file.rfind('/') + 1) + ":" + std::to_string(site.line);
}
const char* name_of(WarpCall call) {
  switch (call) {
    case WarpCall::sync:
      return "__syncwarp";
    case WarpCall::shuffle:
      return "a shuffle";
    default:
      return "a vote";
  }
}
bool same(Site a, Site b) { return a.line == b.line && a.file == b.file; }

Thread* lane_of(const Thread& thread, int lane) {
  const size_t number = thread.warp() * kWarp + lane;
  return number < block->threads.size() ? &block->threads[number] : nullptr;
}

// When every thread has come or is done.
void pass_barrier() {
  const Thread* first = nullptr;
  int result = 0, votes = 0;
  for (Thread& t : block->threads) {
    if (t.state != State::at_barrier) continue;
    if (!first) first = &t;
    if (!same(first->site, t.site) || first->vote != t.vote)
      report("divergent barrier: threads wait at " + text(first->site) + " and at " + text(t.site));
    votes += t.predicate;
    t.state = State::ready;
  }
  if (block->done)
    report("barrier at " + text(first->site) + " after " + std::to_string(block->done) +
           " threads have returned");
  switch (first->vote) {
    case BlockVote::any:
      result = votes > 0;
      break;
    case BlockVote::all:
      result = votes == block->waiting;
      break;
    case BlockVote::count:
      result = votes;
      break;
    case BlockVote::none:
      break;
  }
  block->vote_result = result;
  block->waiting = 0;
  ++block->barriers;
}

// What a thread does: the kernel.
void enter() {
  (*block->kernel)();
  Thread& thread = *block->running;
  thread.state = State::done;
  ++block->done;
  if (block->waiting && block->waiting + block->done == static_cast<int>(block->threads.size()))
    pass_barrier();
  thread.fiber.switch_to(block->scheduler);
}

// All lanes of the mask have called: they get each other's values and go on.
void complete(Thread& last) {
  uint64_t values[kWarp] = {};
  uint32_t latest[kWarp] = {};
  for (int lane = 0; lane < kWarp; ++lane) {
    if (!(last.mask >> lane & 1)) continue;
    const Thread& t = *lane_of(last, lane);
    values[lane] = t.value;
    for (int l = 0; l < kWarp; ++l) latest[l] = std::max(latest[l], t.clock[l]);
  }
  for (int lane = 0; lane < kWarp; ++lane) {
    if (!(last.mask >> lane & 1)) continue;
    Thread& t = *lane_of(last, lane);
    std::copy(values, values + kWarp, t.received);
    // A shuffle moves a value, and orders no memory.
    if (last.call == WarpCall::sync) {
      std::copy(latest, latest + kWarp, t.clock);
      ++t.clock[lane];
    }
    t.state = State::ready;
  }
}

// Nobody can go on: why.
void explain_waiting() {
  for (const Thread& t : block->threads) {
    if (t.state == State::at_barrier) {
      report("deadlock: some threads wait at the barrier at " + text(t.site) +
             ", others never come");
    } else if (t.state == State::in_warp) {
      unsigned gone = 0, elsewhere = 0;
      for (int lane = 0; lane < kWarp; ++lane) {
        if (!(t.mask >> lane & 1)) continue;
        const Thread& other = *lane_of(t, lane);
        if (other.state == State::done)
          ++gone;
        else if (other.state != State::in_warp || !same(other.site, t.site))
          ++elsewhere;
      }
      report(std::string("deadlock: ") + name_of(t.call) + " at " + text(t.site) +
             " waits for lanes of its mask, of which " + std::to_string(gone) +
             " have returned and " + std::to_string(elsewhere) + " wait elsewhere");
    }
  }
}

}  // namespace

void give_way() {
  Thread& thread = *block->running;
  thread.fiber.switch_to(block->scheduler);
  block->running = &thread;
  place.thread = thread.index;
}

void abandon() {
  Thread& thread = *block->running;
  block->running = nullptr;
  thread.fiber.switch_to(block->scheduler);
  __builtin_unreachable();
}

int wait_for_block(BlockVote vote, bool predicate, Site site) {
  Thread& thread = *block->running;
  thread.state = State::at_barrier;
  thread.site = site;
  thread.vote = vote;
  thread.predicate = predicate;
  ++block->waiting;
  if (block->waiting + block->done == static_cast<int>(block->threads.size())) pass_barrier();
  give_way();
  return block->vote_result;
}

// The values of all lanes of `mask`, once all of them have called.
static const uint64_t* wait_for_warp(WarpCall call, unsigned mask, uint64_t value, Site site) {
  Thread& thread = *block->running;
  const auto wrong = [&](const std::string& what) {
    report(std::string("mask of ") + name_of(call) + " at " + text(site) + " " + what);
    abandon();
  };
  if (!(mask >> thread.lane() & 1)) wrong("lacks the lane that calls");
  for (int lane = 0; lane < kWarp; ++lane)
    if ((mask >> lane & 1) && !lane_of(thread, lane)) wrong("names lanes that the block has not");
  thread.state = State::in_warp;
  thread.site = site;
  thread.call = call;
  thread.mask = mask;
  thread.value = value;
  bool all = true;
  for (int lane = 0; lane < kWarp; ++lane) {
    if (!(mask >> lane & 1)) continue;
    const Thread& other = *lane_of(thread, lane);
    if (other.state != State::in_warp) {
      all = false;
      continue;
    }
    if (other.mask != mask || other.call != call || !same(other.site, site))
      wrong("meets that of " + std::string(name_of(other.call)) + " at " + text(other.site) +
            (other.mask == mask ? "" : ", which is another"));
  }
  if (all)
    complete(thread);
  else
    give_way();
  return thread.received;
}

void sync_warp(unsigned mask, Site site) { wait_for_warp(WarpCall::sync, mask, 0, site); }

unsigned ballot(unsigned mask, bool predicate, Site site) {
  const uint64_t* votes = wait_for_warp(WarpCall::vote, mask, predicate, site);
  unsigned bits = 0;
  for (int lane = 0; lane < kWarp; ++lane)
    if ((mask >> lane & 1) && votes[lane]) bits |= 1u << lane;
  return bits;
}

uint64_t value_of_lane(unsigned mask, uint64_t own, unsigned lane, Site site) {
  const uint64_t* values = wait_for_warp(WarpCall::shuffle, mask, own, site);
  if (!(mask >> lane & 1)) {
    report("shuffle at " + text(site) + " reads lane " + std::to_string(lane) +
           ", which is not in its mask");
    abandon();
  }
  return values[lane];
}

bool run_threads() {
  prepare_stacks(block->threads.size());
  for (Thread& t : block->threads) {
    const Span stack = stack_of(t.number);
    t.fiber.prepare(const_cast<char*>(stack.begin), stack.end - stack.begin, enter);
  }
  std::vector<int> order(block->threads.size());
  std::iota(order.begin(), order.end(), 0);
  while (block->done < static_cast<int>(order.size())) {
    if (settings.seed) std::shuffle(order.begin(), order.end(), randomness);
    bool progress = false;
    for (int i : order) {
      Thread& thread = block->threads[i];
      if (thread.state != State::ready) continue;
      progress = true;
      block->running = &thread;
      place.thread = thread.index;
      block->scheduler.switch_to(thread.fiber);
      if (!block->running) return false;  // it has given up
    }
    if (!progress) {
      explain_waiting();
      return false;
    }
  }
  return true;
}

}  // namespace roiops::emulator
