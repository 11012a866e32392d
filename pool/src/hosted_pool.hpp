// Layer pool: a pool of worker processes as an object in a manager's server.
#pragma once

#include <passel/detail/hosted_line.hpp>
#include <passel/detail/hosted_methods.hpp>
#include <passel/manager.hpp>
#include <passel/pool.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace passel::inline v0::detail {

/// What a pool in a server is made with.
struct HostedPoolPlan {
  std::optional<int> processes;
  std::optional<int> maxtasksperchild;
  std::string name;
};

/// Runs tasks by name. Everything on the I/O thread but starting and ending the processes, which
/// wait.
class HostedPool final : public HostedBuiltin<HostedPool>,
                         public std::enable_shared_from_this<HostedPool> {
 public:
  explicit HostedPool(std::weak_ptr<HostedSite> site) : site_{std::move(site)} {}
  ~HostedPool() override;

  void start(HostedCall&& call);
  void submit(HostedCall&& call);
  [[nodiscard]] Result<void> close();
  [[nodiscard]] Result<void> terminate();
  void join(HostedCall&& call);
  [[nodiscard]] Result<std::uint32_t> processes() const;

  void abandoned(std::uint64_t session, std::uint64_t call) override;
  [[nodiscard]] std::string text() const override;
  static std::span<const HostedMethod<HostedPool>> table();

 private:
  using CallKey = std::pair<std::uint64_t, std::uint64_t>;  // session, call
  struct Open {
    const PoolJob* job = nullptr;
    std::uint64_t serial = 0;
  };
  void started(Result<Pool> pool, HostedReply reply);
  void ended(const Result<void>& outcome);
  void give_back_processes();

  const std::weak_ptr<HostedSite> site_;
  std::shared_ptr<Pool> pool_;  // shared with who waits for its end
  bool is_starting_ = false;
  std::size_t processes_ = 0;           // its share of the manager's
  HostedLine<std::monostate> joiners_;  // and the thread that waits for all of them:
  bool end_is_awaited_ = false;
  std::optional<Result<void>> end_;
  std::mutex mutex_;  // for open_: jobs end on the pool's thread
  std::map<CallKey, Open> open_;
};

/// A HostedFactory.
[[nodiscard]] Result<std::shared_ptr<HostedObject>> make_hosted_pool(const HostedCall& call);

}  // namespace passel::inline v0::detail
