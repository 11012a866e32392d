// Layer sync: a queue that lives in a manager's server.
#include "hosted_queue.hpp"

#include <passel/manager_options.hpp>

#include <algorithm>
#include <iterator>

namespace passel::inline v0::detail {
namespace {

/// What an answer has around an item, at most.
constexpr std::size_t around_item = std::size_t{64} << 10;

/// Proxies leave with this server's address and a ticket, whatever they came with: so many bytes
/// more, at most.
std::size_t growth_of(const WireValue& value) {
  constexpr std::size_t around_ticket = 32;
  std::size_t more = 0;
  if (const auto* handle = value.handle()) more = handle->type.size() + around_ticket;
  if (const auto* items = value.items())
    for (const WireValue& item : *items) more += growth_of(item);
  if (const auto* entries = value.entries())
    for (const auto& [key, item] : *entries) more += growth_of(key) + growth_of(item);
  return more;
}

Result<std::shared_ptr<HostedObject>> make(const HostedCall& call, HostedQueueOptions options) {
  const auto args = call.arguments<std::int64_t>();
  if (!args) return args.error();
  options.maxsize = std::get<0>(*args);
  return std::shared_ptr<HostedObject>{std::make_shared<HostedQueue>(options)};
}

}  // namespace

Result<std::shared_ptr<HostedObject>> make_hosted_queue(const HostedCall& call) {
  return make(call, {});
}
Result<std::shared_ptr<HostedObject>> make_hosted_joinable_queue(const HostedCall& call) {
  return make(call, {.joinable = true});
}
Result<std::shared_ptr<HostedObject>> make_hosted_lifo_queue(const HostedCall& call) {
  return make(call, {.order = HostedOrder::lifo});
}
Result<std::shared_ptr<HostedObject>> make_hosted_priority_queue(const HostedCall& call) {
  return make(call, {.order = HostedOrder::priority});
}

std::span<const HostedMethod<HostedQueue>> HostedQueue::table() {
  static constexpr HostedMethod<HostedQueue> methods[] = {
      hosted_method<&HostedQueue::put>{"put"},
      hosted_method<&HostedQueue::put_many>{"put_many"},
      hosted_method<&HostedQueue::get>{"get"},
      hosted_method<&HostedQueue::get_many>{"get_many"},
      hosted_method<&HostedQueue::done>{"task_done"},
      hosted_method<&HostedQueue::join>{"join"},
      hosted_method<&HostedQueue::shutdown>{"shutdown"},
      hosted_method<&HostedQueue::qsize>{"qsize"},
      hosted_method<&HostedQueue::empty>{"empty"},
      hosted_method<&HostedQueue::full>{"full"},
      hosted_method<&HostedQueue::maxsize>{"maxsize"},
      hosted_method<&HostedQueue::is_shutdown>{"is_shutdown"},
      hosted_method<&HostedQueue::waiting>{"waiting"},
  };
  return methods;
}

std::string HostedQueue::text() const { return "<queue of " + std::to_string(qsize()) + " items>"; }

Error HostedQueue::shut_down_error() const { return {Errc::closed, "the queue is shut down"}; }

void HostedQueue::add(Item item) {
  if (options_.order == HostedOrder::priority) {
    const auto place =
        std::upper_bound(items_.begin(), items_.end(), item,
                         [](const Item& a, const Item& b) { return a.value.compare(b.value) < 0; });
    items_.insert(place, std::move(item));
  } else if (options_.order == HostedOrder::lifo) {
    items_.push_front(std::move(item));
  } else {
    items_.push_back(std::move(item));
  }
}

void HostedQueue::put(HostedCall&& call) {
  auto args = call.arguments<WireValue, bool>();
  if (!args) return call.reply.set(args.error());
  std::deque<WireValue> items;
  items.push_back(std::move(std::get<0>(*args)));
  wait_for_room(std::move(call), std::move(items), std::get<1>(*args));
}

void HostedQueue::put_many(HostedCall&& call) {
  auto args = call.arguments<std::vector<WireValue>, bool>();
  if (!args) return call.reply.set(args.error());
  auto& [items, wait] = *args;
  wait_for_room(std::move(call),
                {std::make_move_iterator(items.begin()), std::make_move_iterator(items.end())},
                wait);
}

void HostedQueue::wait_for_room(HostedCall&& call, std::deque<WireValue> items, bool wait) {
  if (shut_down_) return call.reply.set(shut_down_error());
  if (const auto fits = check_size(call, items); !fits) return call.reply.set(fits.error());
  // Nobody overtakes those who wait for room; what came back may be over the limit.
  const bool fits =
      options_.maxsize <= 0 || (putters_.empty() && qsize() + items.size() <= maxsize());
  if (!fits && !wait) return call.reply.set(no_room());
  const std::size_t bytes = call.args.size() / std::max<std::size_t>(items.size(), 1);
  Load load{std::move(items), bytes, {call.caller.session, call.id}};
  if (fits || putters_.empty()) take_room(load);
  if (load.items.empty()) {
    call.reply.value();
  } else {
    putters_.add(std::move(call), std::move(load), no_room());
  }
  serve_waiting();
}

/// What came in one message must also leave in one: otherwise it would block the queue for good.
Result<void> HostedQueue::check_size(const HostedCall& call, const std::deque<WireValue>& items) {
  std::size_t bytes = call.args.size() + around_item;
  // A small message cannot grow so much.
  if (call.args.size() > most_batch_bytes / 4)
    for (const WireValue& item : items) bytes += growth_of(item);
  if (bytes <= most_answer_bytes) return {};
  return Error{Errc::too_large, "items of " + std::to_string(bytes) +
                                    " bytes, with what stands around them, limit " +
                                    std::to_string(most_answer_bytes)};
}

Error HostedQueue::no_room() const {
  return {Errc::full, "the queue holds " + std::to_string(qsize()) + " of " +
                          std::to_string(options_.maxsize) + " items"};
}

void HostedQueue::take_room(Load& load) {
  while (!load.items.empty() && !full()) {
    ++unfinished_;
    ++puts_[load.put];
    add({std::move(load.items.front()), load.bytes, load.put});
    load.items.pop_front();
  }
}

HostedQueue::Item HostedQueue::take_front() {
  Item item = std::move(items_.front());
  items_.pop_front();
  const auto put = puts_.find(std::exchange(item.put, {}));
  if (put != puts_.end() && --put->second == 0) puts_.erase(put);
  drop_revoked();
  return item;
}

void HostedQueue::drop_revoked() {
  for (; !items_.empty() && is_revoked(items_.front()); --dead_) items_.pop_front();
  if (dead_ > items_.size() / 2) {
    std::erase_if(items_, [this](const Item& item) { return is_revoked(item); });
    dead_ = 0;
  }
  if (dead_ == 0) revoked_.clear();
}

/// Takes out what that call has brought and nobody has yet. False when there is nothing.
bool HostedQueue::revoke(const CallKey& put) {
  const auto left = puts_.extract(put);
  if (!left) return false;
  revoked_.insert(put);
  dead_ += left.mapped();
  drop_revoked();
  for (std::uint64_t n = left.mapped(); n > 0 && unfinished_ > 0; --n) finished_one();
  return true;
}

void HostedQueue::get(HostedCall&& call) {
  const auto args = call.arguments<bool, bool>();
  if (!args) return call.reply.set(args.error());
  const auto [wait, receipt] = *args;
  wait_for_items(std::move(call), {.receipt = receipt}, wait);
}

void HostedQueue::get_many(HostedCall&& call) {
  const auto args = call.arguments<std::uint64_t, bool, bool>();
  if (!args) return call.reply.set(args.error());
  const auto [most, wait, receipt] = *args;
  if (most == 0)
    return call.reply.set(Error{Errc::invalid_argument, "at most 0 items are none to wait for"});
  wait_for_items(std::move(call), {.receipt = receipt, .most = most}, wait);
}

void HostedQueue::wait_for_items(HostedCall&& call, Wish wish, bool wait) {
  if (items_.empty()) {
    if (shut_down_) return call.reply.set(shut_down_error());
    Error nothing{Errc::empty, "the queue has no item"};
    if (!wait) return call.reply.set(std::move(nothing));
    return getters_.add(std::move(call), wish, std::move(nothing));
  }
  // Who does not read what he has got waits for more until he does.
  if (wait && !call.site->has_room(call.caller.session)) {
    return getters_.add(std::move(call), wish,
                        Error{Errc::empty, "the client has too much to read for one more item"});
  }
  hand_out(call, wish);
  serve_waiting();
}

std::optional<Error> HostedQueue::hand_full(const HostedCall& call) const {
  const auto hand = hands_.find(call.caller.session);
  if (hand == hands_.end()) return std::nullopt;
  const ManagerLimits& limits = call.site->limits();
  const auto& [items, bytes, kept] = hand->second;
  if (items < limits.items_of_session && bytes < limits.item_bytes_of_session) return std::nullopt;
  return Error{Errc::full, "this process has " + std::to_string(items) + " items of the queue, " +
                               std::to_string(bytes) + " bytes, in its hands: limit " +
                               std::to_string(limits.items_of_session) + " items, " +
                               std::to_string(limits.item_bytes_of_session) + " bytes"};
}

void HostedQueue::remember(const CallKey& call, std::vector<Given> given, bool kept) {
  Hand& hand = hands_[call.first];
  hand.items += given.size();
  for (const Given& one : given) hand.bytes += one.item.bytes;
  if (kept) {
    std::move(given.begin(), given.end(), std::back_inserter(hand.kept));
  } else {
    std::move(given.begin(), given.end(), std::back_inserter(on_way_[call]));
  }
}

void HostedQueue::let_go(std::uint64_t session, const std::vector<Given>& given) {
  const auto hand = hands_.find(session);
  if (hand == hands_.end()) return;
  hand->second.items -= given.size();
  for (const Given& one : given) hand->second.bytes -= one.item.bytes;
  if (hand->second.items == 0) hands_.erase(hand);
}

void HostedQueue::hand_out(HostedCall& call, Wish wish) {
  const bool stays = wish.receipt || options_.joinable;
  if (const auto why = stays ? hand_full(call) : std::nullopt) return call.reply.set(*why);
  const CallKey key{call.caller.session, call.id};
  std::vector<Given> taken;
  std::vector<WireValue> values;
  std::size_t bytes = 0;
  while (!items_.empty() && taken.size() < std::max<std::uint64_t>(wish.most, 1)) {
    bytes += items_.front().bytes;
    if (!taken.empty() && bytes > most_batch_bytes) break;
    taken.push_back({take_front(), ++last_turn_});
    ++taken.back().item.delivery;
    values.push_back(std::move(taken.back().item.value));
  }
  // The call's number names them when their taker says that it has them, or not.
  const WireValue answer =
      wish.most == 0
          ? WireValue::tuple({call.id, taken.front().item.delivery, std::move(values.front())})
          : WireValue::tuple({call.id, WireValue::list(std::move(values))});
  const auto take_back_values = [&] {
    const WireValue::Items& parts = *answer.items();
    for (std::size_t i = 0; i < taken.size(); ++i)
      taken[i].item.value = wish.most == 0 ? parts.back() : (*parts.back().items())[i];
  };
  if (wish.receipt) {
    take_back_values();
    remember(key, std::move(taken), false);
    return call.reply.value(answer);
  }
  // An answer that is too large is discarded before this returns.
  handing_out_ = key;
  call.reply.value(answer);
  if (!std::exchange(handing_out_, std::nullopt)) {
    take_back_values();
    for (Given& one : taken) --one.item.delivery;
    give_back(std::move(taken));
  } else if (options_.joinable) {
    take_back_values();
    remember(key, std::move(taken), true);
  }
}

// Items come back in the middle of it, when they are more than their taker has room for.
void HostedQueue::serve_waiting() {
  if (is_serving_) return;
  struct Turn {
    explicit Turn(bool& taken) : is_taken{taken} { is_taken = true; }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn() { is_taken = false; }
    bool& is_taken;
  } const turn{is_serving_};
  serve_all();
}

void HostedQueue::serve_all() {
  const auto has_room = [](const auto& getter) {
    return getter.call.site->has_room(getter.call.caller.session);
  };
  while (true) {
    auto getter = items_.empty() ? std::nullopt : getters_.take_first(has_room);
    if (getter) {
      hand_out(getter->call, getter->data);
    } else if (!putters_.empty() && !full()) {
      take_room(putters_.front().data);
      if (putters_.front().data.items.empty()) putters_.take_front().call.reply.value();
    } else {
      return;
    }
  }
}

void HostedQueue::finished_one() {
  --unfinished_;
  while (unfinished_ == 0 && !joiners_.empty()) joiners_.take_front().call.reply.value();
}

Result<void> HostedQueue::task_done(const HostedCaller& caller) {
  const Error too_many{Errc::invalid_argument, "task_done() called too many times"};
  if (unfinished_ == 0) return too_many;
  if (options_.joinable) {
    // What this session has had longest. Others' items are theirs: whoever comes back after his
    // connection broke has none, and what he had goes to somebody else.
    const auto hand = hands_.find(caller.session);
    if (hand == hands_.end() || hand->second.kept.empty())
      return Error{too_many.code(), too_many.what() + ": this process has no item in hand"};
    std::vector<Given> done;
    done.push_back(std::move(hand->second.kept.front()));
    hand->second.kept.pop_front();
    let_go(caller.session, done);
  }
  finished_one();
  return {};
}

void HostedQueue::join(HostedCall&& call) {
  if (unfinished_ == 0) return call.reply.value();
  joiners_.add(std::move(call), {}, Error{Errc::timeout, "the queue has unfinished items"});
}

void HostedQueue::shutdown(bool immediate) {
  shut_down_ = true;
  while (!putters_.empty()) putters_.take_front().call.reply.set(shut_down_error());
  if (immediate) {
    for (std::uint64_t left = qsize(); left > 0 && unfinished_ > 0; --left) finished_one();
    items_.clear();
    puts_.clear();
    revoked_.clear();
    dead_ = 0;
  }
  if (!items_.empty()) return;
  while (!getters_.empty()) getters_.take_front().call.reply.set(shut_down_error());
}

void HostedQueue::abandoned(std::uint64_t session, std::uint64_t call) {
  if (getters_.remove(session, call) || putters_.remove(session, call)) return;
  joiners_.remove(session, call);
}

void HostedQueue::kept(std::uint64_t session, std::uint64_t call) {
  auto arrived = on_way_.extract({session, call});
  if (!arrived) return;
  if (!options_.joinable) return let_go(session, arrived.mapped());
  std::move(arrived.mapped().begin(), arrived.mapped().end(),
            std::back_inserter(hands_.at(session).kept));
}

void HostedQueue::discarded(std::uint64_t session, std::uint64_t call) {
  if (handing_out_ == std::pair{session, call}) return handing_out_.reset();
  if (revoke({session, call})) return serve_waiting();
  auto back = on_way_.extract({session, call});
  if (!back) return;
  let_go(session, back.mapped());
  for (Given& given : back.mapped()) --given.item.delivery;  // nobody has seen it
  give_back(std::move(back.mapped()));
}

void HostedQueue::session_ended(std::uint64_t session) {
  auto hand = hands_.extract(session);
  if (!hand) return serve_waiting();
  std::vector<Given> back{std::make_move_iterator(hand.mapped().kept.begin()),
                          std::make_move_iterator(hand.mapped().kept.end())};
  const auto first = on_way_.lower_bound({session, 0});
  auto last = first;
  for (; last != on_way_.end() && last->first.first == session; ++last)
    std::move(last->second.begin(), last->second.end(), std::back_inserter(back));
  on_way_.erase(first, last);
  std::sort(back.begin(), back.end(),
            [](const Given& a, const Given& b) { return a.turn < b.turn; });
  give_back(std::move(back));
}

void HostedQueue::give_back(std::vector<Given> given) {
  // At the head, the oldest first, even where that is over the limit.
  for (auto one = given.rbegin(); one != given.rend(); ++one) {
    if (options_.order == HostedOrder::priority) {
      add(std::move(one->item));
    } else {
      items_.push_front(std::move(one->item));
    }
  }
  serve_waiting();
}

}  // namespace passel::inline v0::detail
