// Layer pool: answers of a broker for submitters that are slow to read.
#pragma once

#include <passel/detail/hosted_object.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>

namespace passel::inline v0::detail {

/// What a task gave must not be lost because its submitter has too much to read already: it is kept
/// until there is room. I/O thread.
class KeptAnswers {
 public:
  static constexpr std::size_t max_bytes = std::size_t{1} << 30;

  explicit KeptAnswers(std::weak_ptr<HostedSite> site) : site_{std::move(site)} {}

  /// Answers that call now, or when its session is ready; with `full` when too much is kept.
  void answer(std::uint64_t session, std::uint64_t call, HostedReply reply, Encoded answer);
  /// Has the session those that it has room for.
  void deliver(std::uint64_t session);
  /// Nobody waits for the answer to that call any more.
  void drop(std::uint64_t session, std::uint64_t call);
  [[nodiscard]] bool empty() const noexcept { return kept_.empty(); }

 private:
  using Key = std::pair<std::uint64_t, std::uint64_t>;  // session, call
  struct Kept {
    HostedReply reply;
    Encoded answer;
  };
  using All = std::map<Key, Kept>;
  /// The first one of that session, or the end.
  [[nodiscard]] All::iterator first_of(std::uint64_t session);
  [[nodiscard]] Kept take(All::iterator one);

  const std::weak_ptr<HostedSite> site_;
  All kept_;
  std::size_t bytes_ = 0;
};

}  // namespace passel::inline v0::detail
