// Memory aligned to cache lines, asked for in huge pages where it is large.
#pragma once

#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace vsr {

template <class T>
class Buffer {
 public:
  Buffer() = default;
  // Zeroed, unless that can be spared. Throws std::bad_alloc.
  explicit Buffer(size_t count, bool zeroed = true) : data_(nullptr) {
    constexpr size_t kHuge = size_t{1} << 21;
    size_t bytes = count * sizeof(T);
    const size_t alignment = bytes >= kHuge ? kHuge : 64;
    bytes = (bytes + alignment - 1) / alignment * alignment;
    if (bytes == 0) return;
    data_ = static_cast<T*>(std::aligned_alloc(alignment, bytes));
    if (data_ == nullptr) throw std::bad_alloc();
#if defined(__linux__)
    if (alignment == kHuge) madvise(data_, bytes, MADV_HUGEPAGE);
#endif
    if (zeroed) std::memset(static_cast<void*>(data_), 0, bytes);
  }
  ~Buffer() { std::free(data_); }
  Buffer(Buffer&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::free(std::exchange(data_, std::exchange(other.data_, nullptr)));
    return *this;
  }

  T* get() { return data_; }
  const T* get() const { return data_; }

 private:
  T* data_ = nullptr;
};

}  // namespace vsr
