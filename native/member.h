// What the threads of a run share, and one thread's part in it. A stage is everything between two
// points where all threads must wait, because statistics of the whole picture are needed. Threads
// share the picture out by rows of tiles.
#pragma once

#include <chrono>

#include "layout.h"
#include "shares.h"
#include "statistics.h"
#include "team.h"

namespace vsr {

constexpr int kMomentSets = 2;  // of a stage

struct Shared {
  Shared(const Size& size_, int members_) : size(size_), members(members_), barrier(members_) {
    for (auto& parity : moments)
      for (auto& table : parity) table.resize(size.tile_rows);
    for (auto& parity : busy) parity.resize(members);
  }
  const Size size;
  const int members;
  Barrier barrier;
  // A fast thread may be a stage ahead of one that still reads the last stage's.
  MomentTable moments[2][kMomentSets];
  std::vector<double> busy[2];  // seconds of each member
};

class Member {
 public:
  Member(Shared& shared, int number)
      : shared_(shared), number_(number), shares_(shared.members, shared.size.tile_rows) {}

  // The moments that the last stage summed.
  Moments moments(int set = 0) const { return join(shared_.moments[(stages_ + 1) & 1][set]); }

 protected:
  // This thread's rows of tiles in the stage.
  int first_row() const { return shares_.begin(number_); }
  int end_row() const { return shares_.end(number_); }
  // Where the stage's moments of a row belong.
  RowMoments& moments_of(int tile_row, int set) { return shared_.moments[stages_ & 1][set][tile_row]; }

  // Every stage begins and ends with these; within it, all wait with wait().
  void start() { since_ = Clock::now(); }
  void wait() {
    stop();
    shared_.barrier.wait();
    start();
  }
  void finish() {
    std::vector<double>& busy = shared_.busy[stages_ & 1];
    stop();
    busy[number_] = busy_;
    busy_ = 0;
    shared_.barrier.wait();
    shares_.learn(busy.data());
    ++stages_;
  }

 private:
  typedef std::chrono::steady_clock Clock;
  void stop() { busy_ += std::chrono::duration<double>(Clock::now() - since_).count(); }

  Shared& shared_;
  int number_;
  Shares shares_;
  Clock::time_point since_;
  double busy_ = 0;
  int stages_ = 0;
};

}  // namespace vsr
