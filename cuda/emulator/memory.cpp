#include "emulator/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <deque>
#include <iterator>
#include <map>
#include <string>

#include "emulator/accesses.h"
#include "emulator/findings.h"
#include "emulator/machine.h"

namespace roiops::emulator {
namespace {

constexpr size_t kPage = 4096, kAlignment = 16, kStack = 64 << 10, kGap = 64;
constexpr size_t kFreedAtMost = 256;

size_t rounded(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

char* map_pages(size_t bytes) {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return p == MAP_FAILED ? nullptr : static_cast<char*>(p);
}

struct Buffer {
  size_t bytes;
  char* pages;
  size_t mapped;
};
std::map<const char*, Buffer> buffers;  // by their begin
std::deque<std::pair<char*, size_t>> freed;

struct Arena {
  char* memory = nullptr;
  size_t size = 256 << 10;
  size_t used = 0;                     // with gaps
  size_t asked = 0;                    // without
  std::map<const void*, Span> arrays;  // by the place of the declaration
} shared;

char* stacks = nullptr;
size_t stack_count = 0;

}  // namespace

void* allocate(size_t bytes) {
  const size_t data = rounded(bytes < 1 ? 1 : bytes, kPage), mapped = data + kPage;
  char* pages = map_pages(mapped);
  if (!pages) return nullptr;
  mprotect(pages + data, kPage, PROT_NONE);
  // The end, up to the alignment that every allocation has, lies at the guard page.
  char* begin = pages + data - rounded(bytes < 1 ? 1 : bytes, kAlignment);
  // An enormous one is for a few elements far apart: its pages come as they are touched.
  if (bytes <= size_t{1} << 30) std::memset(pages, 0xff, data);
  buffers[begin] = {bytes, pages, mapped};
  return begin;
}

void release(void* buffer) {
  const auto found = buffers.find(static_cast<char*>(buffer));
  if (!buffer) return;
  if (found == buffers.end()) {
    report("freed an address that is no buffer, or twice");
    return;
  }
  forget(found->first);
  mprotect(found->second.pages, found->second.mapped, PROT_NONE);
  freed.emplace_back(found->second.pages, found->second.mapped);
  buffers.erase(found);
  if (freed.size() <= kFreedAtMost) return;
  munmap(freed.front().first, freed.front().second);
  freed.pop_front();
}

void copy(void* to, const void* from, size_t bytes) {
  std::memcpy(to, from, bytes);
  if (device_buffer_at(to).begin) host_has_written(to, bytes);
}

Span device_buffer_at(const void* address) {
  const char* p = static_cast<const char*>(address);
  const auto next = buffers.upper_bound(p);
  for (auto near = next == buffers.begin() ? next : std::prev(next); near != buffers.end();
       ++near) {
    const Buffer& buffer = near->second;
    if (p >= buffer.pages && p < buffer.pages + buffer.mapped)
      return {near->first, near->first + buffer.bytes};
    if (near == next) break;
  }
  return {};
}

void prepare_stacks(size_t threads) {
  if (stack_count >= threads) return;
  if (stacks) munmap(stacks, stack_count * (kStack + kPage));
  stacks = map_pages(threads * (kStack + kPage));
  stack_count = threads;
  for (size_t i = 0; i < threads; ++i) mprotect(stacks + i * (kStack + kPage), kPage, PROT_NONE);
}

Span stack_of(size_t thread) {
  const char* begin = stacks + thread * (kStack + kPage) + kPage;
  return {begin, begin + kStack};
}

void open_shared_memory(size_t dynamic) {
  if (!shared.memory) shared.memory = map_pages(shared.size);
  std::memset(shared.memory, 0xff, shared.size);
  shared.arrays.clear();
  shared.used = kGap;
  shared.asked = 0;
  if (dynamic) {
    shared.arrays[nullptr] = {shared.memory + shared.used, shared.memory + shared.used + dynamic};
    shared.used += rounded(dynamic, kAlignment) + kGap;
    shared.asked += dynamic;
  }
}

size_t shared_memory_in_use() { return shared.asked; }

void* static_shared_memory(const void* key, size_t bytes) {
  const auto found = shared.arrays.find(key);
  if (found != shared.arrays.end()) return const_cast<char*>(found->second.begin);
  if (shared.used + bytes + kGap > shared.size) {
    report("shared memory is full");
    abandon();
  }
  char* begin = shared.memory + shared.used;
  shared.arrays[key] = {begin, begin + bytes};
  shared.used += rounded(bytes, kAlignment) + kGap;
  shared.asked += bytes;
  return begin;
}

void* dynamic_shared_memory() {
  const auto found = shared.arrays.find(nullptr);
  if (found == shared.arrays.end()) {
    report("dynamic shared memory is used, and none was asked for");
    abandon();
  }
  return const_cast<char*>(found->second.begin);
}

Span shared_arena() { return {shared.memory, shared.memory + shared.size}; }

bool in_shared_array(const void* address, size_t bytes) {
  for (const auto& [key, span] : shared.arrays)
    if (span.holds(address, bytes)) return true;
  return false;
}

}  // namespace roiops::emulator
