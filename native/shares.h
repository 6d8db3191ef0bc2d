// How the threads of a run share out a picture: by what a row has cost each of them.
//
// Cores differ. Some are small ones, some are wanted by other programs for a while, and the system
// moves threads between them; but at the end of each stage all wait for the last. So every stage is
// timed, and the next one's parts are cut accordingly. Each thread does that for itself, from the
// same numbers, and comes to the same parts. No result depends on them.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

namespace vsr {

class Shares {
 public:
  Shares(int members, int rows) : rows_(rows), cost_(members, 1.0), even_(members + 1) {
    cut(even_);
    cuts_ = better_ = even_;
  }

  // The rows of a member.
  int begin(int member) const { return cuts_[member]; }
  int end(int member) const { return cuts_[member + 1]; }

  // Takes the seconds that each member was busy in a stage. Allocates nothing, so it cannot fail.
  void learn(const double* seconds) {
    double all = 0;
    for (size_t i = 0; i < cost_.size(); ++i) all += seconds[i];
    if (all <= 0) return;  // too short for the clock
    for (int i = 0; i < static_cast<int>(cost_.size()); ++i) {
      const int count = end(i) - begin(i);
      // Who had nothing to do may have become fast.
      const double now = count == 0 ? 1.0 : seconds[i] / count * rows_ / all;
      cost_[i] += kWeight * (std::min(now, kMostCost) - cost_[i]);
#ifdef VSR_RESTLESS  // for tests: other parts for every stage
      cost_[i] = 1 + (i + 1) * 37 * ++stages_ % 11;
#endif
    }
    if (alike()) {
      cuts_ = even_;
      return;
    }
    cut(better_);
    // Rows that change hands must be fetched from another core's cache.
    if (longest(better_) < kWorthwhile * longest(cuts_)) cuts_ = better_;
  }

 private:
  static constexpr double kWeight = 0.05;    // of a stage: a frame has some two hundred
  static constexpr double kMostCost = 16;    // a thread that was stopped for long is not lost
  static constexpr double kWorthwhile = 0.97;
  static constexpr double kAlike = 0.1;      // cores of a kind differ by less

  bool alike() const {
    return std::all_of(cost_.begin(), cost_.end(),
                       [](double cost) { return std::abs(cost - 1) < kAlike; });
  }

  // Makes parts that take equally long.
  void cut(std::vector<int>& cuts) const {
    double total = 0;
    for (double cost : cost_) total += 1 / cost;
    double before = 0;
    for (size_t i = 0; i < cost_.size(); ++i) {
      before += 1 / cost_[i];
      cuts[i + 1] = static_cast<int>(rows_ * before / total + 0.5);
    }
    cuts.back() = rows_;
  }

  double longest(const std::vector<int>& cuts) const {
    double most = 0;
    for (size_t i = 0; i < cost_.size(); ++i)
      most = std::max(most, (cuts[i + 1] - cuts[i]) * cost_[i]);
    return most;
  }

  int rows_;
#ifdef VSR_RESTLESS
  int stages_ = 0;
#endif
  std::vector<double> cost_;  // of a row, against the average
  std::vector<int> even_, cuts_, better_;  // where each member's rows begin, and the last ones end
};

}  // namespace vsr
