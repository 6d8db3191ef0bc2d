// Memory aligned to cache lines, asked for in huge pages where it is large.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace vsr {

// A block of memory, aligned to cache lines or huge pages, not zeroed.
class Memory {
 public:
  Memory() = default;
  // Throws std::bad_alloc.
  explicit Memory(size_t wanted) {
    const size_t alignment = wanted >= kHuge ? kHuge : 64;
    bytes_ = (wanted + alignment - 1) / alignment * alignment;
    if (bytes_ == 0) return;
#if defined(__linux__)
    if (bytes_ >= kMapped) {
      map();
      return;
    }
#endif
    data_ = std::aligned_alloc(alignment, bytes_);
    if (data_ == nullptr) throw std::bad_alloc();
#if defined(__linux__)
    if (alignment == kHuge) madvise(data_, bytes_, MADV_HUGEPAGE);
#endif
  }
  ~Memory() {
#if defined(__linux__)
    if (mapped_ != nullptr) {
      munmap(mapped_, bytes_ + kHuge);
      return;
    }
#endif
    std::free(data_);
  }
  Memory(Memory&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), mapped_(std::exchange(other.mapped_, nullptr)),
        bytes_(std::exchange(other.bytes_, 0)) {}
  Memory& operator=(Memory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(mapped_, other.mapped_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  static constexpr size_t kHuge = size_t{1} << 21;
  // From here on the system gets a block back at once. malloc would keep it, and in the meantime
  // others would settle in it, so that it could not be had again.
  static constexpr size_t kMapped = size_t{1} << 25;

#if defined(__linux__)
  void map() {
    mapped_ = mmap(nullptr, bytes_ + kHuge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped_ == MAP_FAILED) {
      mapped_ = nullptr;
      throw std::bad_alloc();
    }
    data_ = reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(mapped_) + kHuge - 1) & ~(kHuge - 1));
    madvise(data_, bytes_, MADV_HUGEPAGE);
  }
#endif
  void *data_ = nullptr, *mapped_ = nullptr;
  size_t bytes_ = 0;
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
