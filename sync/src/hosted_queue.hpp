// Layer sync: a queue that lives in a manager's server.
#pragma once

#include <passel/detail/hosted_line.hpp>
#include <passel/detail/hosted_methods.hpp>
#include <passel/wire_value.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace passel::inline v0::detail {

/// Which item is next.
enum class HostedOrder : std::uint8_t { fifo, lifo, priority };

struct HostedQueueOptions {
  std::int64_t maxsize = 0;  ///< 0 or less: no limit
  HostedOrder order = HostedOrder::fifo;
  /// An item whose taker is gone before its task_done comes back at the head.
  bool joinable = false;
};

/// Python's queue.Queue as a hosted object. Who takes an item by a call that it may give up says
/// when it has it ("kept"); until then the item is in between, and comes back when the answer
/// reached nobody.
class HostedQueue final : public HostedBuiltin<HostedQueue> {
 public:
  explicit HostedQueue(HostedQueueOptions options) : options_{options} {}

  void put(HostedCall&& call);
  /// All of them, in their order; a call that is given up leaves those in that are.
  void put_many(HostedCall&& call);
  void get(HostedCall&& call);
  /// What is there, up to so many, when there is one at least.
  void get_many(HostedCall&& call);
  [[nodiscard]] Result<void> task_done(const HostedCaller& caller);
  void done(HostedCall&& call) { call.reply.value(task_done(call.caller)); }
  void join(HostedCall&& call);
  void shutdown(bool immediate);
  [[nodiscard]] std::uint64_t qsize() const { return items_.size() - dead_; }
  [[nodiscard]] bool empty() const { return items_.empty(); }
  [[nodiscard]] bool full() const {
    return options_.maxsize > 0 && qsize() >= static_cast<std::uint64_t>(options_.maxsize);
  }
  [[nodiscard]] std::uint64_t maxsize() const {
    return options_.maxsize > 0 ? static_cast<std::uint64_t>(options_.maxsize) : 0;
  }
  [[nodiscard]] bool is_shutdown() const { return shut_down_; }
  /// How many wait for an item.
  [[nodiscard]] std::uint64_t waiting() const { return getters_.size(); }

  static std::span<const HostedMethod<HostedQueue>> table();
  [[nodiscard]] std::string text() const override;
  void abandoned(std::uint64_t session, std::uint64_t call) override;
  void kept(std::uint64_t session, std::uint64_t call) override;
  void discarded(std::uint64_t session, std::uint64_t call) override;
  void session_ready(std::uint64_t) override { serve_waiting(); }
  void session_ended(std::uint64_t session) override;

 private:
  using CallKey = std::pair<std::uint64_t, std::uint64_t>;  // session, call
  struct Item {
    WireValue value;
    std::size_t bytes = 0;       ///< of what it came in, more or less
    CallKey put{};               ///< the call that brought it, until it was handed out
    std::uint64_t delivery = 0;  ///< how often it was handed out
  };
  struct Load {  ///< items of one call
    std::deque<WireValue> items;
    std::size_t bytes = 0;  ///< of each, more or less
    CallKey put{};
  };
  struct Given {  ///< an item in the hands of a session
    Item item;
    std::uint64_t turn = 0;  ///< counts what was handed out
  };
  struct Hand {  ///< what a session has, of which there is a limit
    std::size_t items = 0;
    std::size_t bytes = 0;
    std::deque<Given> kept{};  ///< the session has said so, or cannot give it up; oldest first
  };
  /// What somebody in the line waits for.
  struct Wish {
    bool receipt = false;    ///< the caller says when it has the answer
    std::uint64_t most = 0;  ///< items of one call; 0: one, and not in a list
  };

  void add(Item item);
  [[nodiscard]] Item take_front();
  [[nodiscard]] bool is_revoked(const Item& item) const { return revoked_.contains(item.put); }
  void drop_revoked();
  [[nodiscard]] bool revoke(const CallKey& put);
  void take_room(Load& load);
  [[nodiscard]] static Result<void> check_size(const HostedCall& call,
                                               const std::deque<WireValue>& items);
  void wait_for_room(HostedCall&& call, std::deque<WireValue> items, bool wait);
  void wait_for_items(HostedCall&& call, Wish wish, bool wait);
  void give_back(std::vector<Given> given);
  /// Why that session can have no more; nothing while it can.
  [[nodiscard]] std::optional<Error> hand_full(const HostedCall& call) const;
  void remember(const CallKey& call, std::vector<Given> given, bool kept);
  void let_go(std::uint64_t session, const std::vector<Given>& given);
  void hand_out(HostedCall& call, Wish wish);
  void serve_waiting();
  void serve_all();
  void finished_one();
  [[nodiscard]] Error shut_down_error() const;
  [[nodiscard]] Error no_room() const;

  HostedQueueOptions options_;
  std::deque<Item> items_;                        // the first one is none of those that are revoked
  std::map<CallKey, std::uint64_t> puts_;         // how many items of them nobody has taken yet
  std::set<CallKey> revoked_;                     // puts whose items are still in the line ...
  std::uint64_t dead_ = 0;                        // ... and count for nothing: so many
  std::map<std::uint64_t, Hand> hands_;           // by session
  std::map<CallKey, std::vector<Given>> on_way_;  // by get, until it is kept or comes back
  std::uint64_t last_turn_ = 0;
  HostedLine<Wish> getters_;
  HostedLine<Load> putters_;  // and what they have not put yet
  HostedLine<std::monostate> joiners_;
  bool is_serving_ = false;
  std::optional<std::pair<std::uint64_t, std::uint64_t>> handing_out_;  // session and call
  std::uint64_t unfinished_ = 0;
  bool shut_down_ = false;
};

/// The factories of the three kinds: (maxsize), and whether items come back.
Result<std::shared_ptr<HostedObject>> make_hosted_queue(const HostedCall& call);
Result<std::shared_ptr<HostedObject>> make_hosted_joinable_queue(const HostedCall& call);
Result<std::shared_ptr<HostedObject>> make_hosted_lifo_queue(const HostedCall& call);
Result<std::shared_ptr<HostedObject>> make_hosted_priority_queue(const HostedCall& call);

}  // namespace passel::inline v0::detail
