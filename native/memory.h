// Memory aligned to cache lines, asked for in huge pages where it is large.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <type_traits>
#include <utility>
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace vsr {

// Large blocks come straight from the system, in huge pages. malloc would take them from wherever
// the thread at hand has room, often without.
#if defined(__linux__)
class Pages {
 public:
  static constexpr size_t kHuge = size_t{1} << 21;

  // A multiple of kHuge; not zeroed. Throws std::bad_alloc.
  static void* take(size_t bytes) {
    {
      std::lock_guard lock(mutex_);
      for (int i = 0; i < count_; ++i)
        if (kept_[i].bytes == bytes) {
          void* found = kept_[i].data;
          kept_[i] = kept_[--count_];
          return found;
        }
      // Another size of frame: what was kept is of no use any more.
      while (count_ > 0) {
        --count_;
        munmap(kept_[count_].data, kept_[count_].bytes);
      }
    }
    // More than is wanted, to cut an aligned piece out of it.
    void* wide = mmap(nullptr, bytes + kHuge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (wide == MAP_FAILED) throw std::bad_alloc();
    const auto begin = reinterpret_cast<uintptr_t>(wide);
    const uintptr_t aligned = (begin + kHuge - 1) / kHuge * kHuge;
    if (aligned != begin) munmap(wide, aligned - begin);
    if (aligned != begin + kHuge)
      munmap(reinterpret_cast<void*>(aligned + bytes), begin + kHuge - aligned);
    void* data = reinterpret_cast<void*>(aligned);
    madvise(data, bytes, MADV_HUGEPAGE);
    return data;
  }

  // Gives a block back. Some are kept for the next frame, for which they would have to be zeroed by
  // the system again; the largest are not, since others need the room in the meantime.
  static void give(void* data, size_t bytes) {
    if (bytes < kLargest) {
      std::lock_guard lock(mutex_);
      if (count_ < kMost) {
        kept_[count_++] = {data, bytes};
        return;
      }
    }
    munmap(data, bytes);
  }

 private:
  static constexpr size_t kLargest = size_t{1} << 25;
  static constexpr int kMost = 16;
  struct Block {
    void* data;
    size_t bytes;
  };
  // Nothing here is destroyed when the process ends: a thread may still be at a frame then.
  static inline std::mutex mutex_;
  static_assert(std::is_trivially_destructible_v<std::mutex>);
  static inline Block kept_[kMost];
  static inline int count_ = 0;
};
#endif

// A block of memory, aligned to cache lines or huge pages, not zeroed.
class Memory {
 public:
  Memory() = default;
  // Throws std::bad_alloc.
  explicit Memory(size_t wanted) {
#if defined(__linux__)
    if (wanted >= Pages::kHuge) {
      bytes_ = (wanted + Pages::kHuge - 1) / Pages::kHuge * Pages::kHuge;
      data_ = Pages::take(bytes_);
      paged_ = true;
      return;
    }
#endif
    constexpr size_t kCacheLine = 64;
    bytes_ = (wanted + kCacheLine - 1) / kCacheLine * kCacheLine;
    if (bytes_ == 0) return;
    data_ = std::aligned_alloc(kCacheLine, bytes_);
    if (data_ == nullptr) throw std::bad_alloc();
  }
  ~Memory() {
#if defined(__linux__)
    if (paged_) {
      Pages::give(data_, bytes_);
      return;
    }
#endif
    std::free(data_);
  }
  Memory(Memory&& other) noexcept { swap(other); }
  Memory& operator=(Memory&& other) noexcept {
    swap(other);
    return *this;
  }
  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  void swap(Memory& other) {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(paged_, other.paged_);
  }
  void* data_ = nullptr;
  size_t bytes_ = 0;
  bool paged_ = false;
};

template <class T>
class Buffer {
 public:
  Buffer() = default;
  // Zeroed, unless that can be spared. Throws std::bad_alloc.
  explicit Buffer(size_t count, bool zeroed = true) : memory_(count * sizeof(T)) {
    if (zeroed && memory_.bytes() != 0) std::memset(memory_.data(), 0, memory_.bytes());
  }
  T* get() { return static_cast<T*>(memory_.data()); }
  const T* get() const { return static_cast<const T*>(memory_.data()); }

 private:
  Memory memory_;
};

}  // namespace vsr
