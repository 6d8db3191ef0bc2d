// The threads of a run, and where they wait for each other.
//
// The engine has threads of its own rather than OpenMP's: torch brings an OpenMP runtime, and a
// second one in the process would fight with it over the cores. They live as long as one frame.
#pragma once

#include <atomic>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace vsr {

class Barrier {
 public:
  explicit Barrier(int members) : members_(members) {}

  void wait() {
    const unsigned generation = generation_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) == members_ - 1) {
      arrived_.store(0, std::memory_order_relaxed);
      generation_.store(generation + 1, std::memory_order_release);
      generation_.notify_all();
      return;
    }
    // Most waits are short; a core that somebody else wants is given up soon.
    for (int spin = 0; spin < 2000; ++spin) {
      if (generation_.load(std::memory_order_acquire) != generation) return;
      pause();
    }
    generation_.wait(generation, std::memory_order_acquire);
  }

 private:
  // Tells the processor that it is waiting.
  static void pause() {
#if defined(__aarch64__)
    asm volatile("yield");
#else
    __builtin_ia32_pause();
#endif
  }

  const int members_;
  std::atomic<int> arrived_{0};
  std::atomic<unsigned> generation_{0};
};

// Runs work(0) .. work(members - 1) at the same time; the caller is member 0.
//
// Throws std::runtime_error if the system gives too few threads, std::bad_alloc if there is no memory
// for them. Nothing has run then: members wait for each other, so none begins before all are there.
// What `work` throws ends the process.
template <class Work>
void in_parallel(int members, Work&& work) {
  enum Gate { kClosed, kOpen, kCalledOff };
  std::atomic<int> gate{kClosed};
  std::vector<std::thread> others;
  others.reserve(members - 1);
  const auto decide = [&](Gate how) {
    gate.store(how, std::memory_order_release);
    gate.notify_all();
  };
  const auto join = [&] {
    for (std::thread& other : others) other.join();
  };
  const auto member_of_team = [&gate, &work](int member) {
    gate.wait(kClosed, std::memory_order_acquire);
    if (gate.load(std::memory_order_acquire) == kOpen) work(member);
  };
  try {
    for (int member = 1; member < members; ++member) others.emplace_back(member_of_team, member);
  } catch (const std::system_error&) {
    decide(kCalledOff);
    join();
    throw std::runtime_error("the system gives it " + std::to_string(1 + others.size()) + " of " +
                             std::to_string(members) + " threads");
  } catch (...) {  // no memory for one
    decide(kCalledOff);
    join();
    throw;
  }
  decide(kOpen);
  work(0);
  join();
}

}  // namespace vsr
