// Layer sync: a queue that lives in a manager's server.
#include "hosted_queue.hpp"

#include <algorithm>
#include <iterator>

namespace passel::inline v0::detail {
namespace {

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
      hosted_method<&HostedQueue::get>{"get"},
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

std::string HostedQueue::text() const {
  return "<queue of " + std::to_string(items_.size()) + " items>";
}

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
  auto& [value, wait] = *args;
  if (shut_down_) return call.reply.set(shut_down_error());
  if (full()) {
    Error no_room{Errc::full, "the queue holds " + std::to_string(items_.size()) + " of " +
                                  std::to_string(options_.maxsize) + " items"};
    if (!wait) return call.reply.set(std::move(no_room));
    return putters_.add(std::move(call), std::move(value), std::move(no_room));
  }
  ++unfinished_;
  add({std::move(value)});
  call.reply.value();
  serve_waiting();
}

void HostedQueue::get(HostedCall&& call) {
  const auto args = call.arguments<bool, bool>();
  if (!args) return call.reply.set(args.error());
  const auto [wait, receipt] = *args;
  const Receipt expected = receipt ? Receipt::expected : Receipt::none;
  if (items_.empty()) {
    if (shut_down_) return call.reply.set(shut_down_error());
    Error nothing{Errc::empty, "the queue has no item"};
    if (!wait) return call.reply.set(std::move(nothing));
    return getters_.add(std::move(call), expected, std::move(nothing));
  }
  hand_out(call, expected);
  serve_waiting();
}

void HostedQueue::hand_out(HostedCall& call, Receipt receipt) {
  Item item = std::move(items_.front());
  items_.pop_front();
  ++item.delivery;
  if (options_.joinable || receipt == Receipt::expected) {
    given_.push_back({call.caller.session, call.id, item, receipt == Receipt::none});
  }
  // The call's number names it when its taker says that it has it, or not.
  call.reply.value(WireValue::tuple({call.id, item.delivery, std::move(item.value)}));
}

void HostedQueue::serve_waiting() {
  while (true) {
    if (!items_.empty() && !getters_.empty()) {
      auto getter = getters_.take_front();
      hand_out(getter.call, getter.data);
    } else if (!putters_.empty() && !full()) {
      auto putter = putters_.take_front();
      ++unfinished_;
      add({std::move(putter.data)});
      putter.call.reply.value();
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
  // What this session has had longest, else what anybody has, else an item that is in nobody's
  // hands.
  auto done = std::find_if(given_.begin(), given_.end(), [&](const Given& given) {
    return given.session == caller.session && given.kept;
  });
  if (done == given_.end())
    done = std::find_if(given_.begin(), given_.end(), [](const Given& one) { return one.kept; });
  if (unfinished_ == 0 || (options_.joinable && done == given_.end()))
    return Error{Errc::invalid_argument, "task_done() called too many times"};
  if (options_.joinable) given_.erase(done);
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
    for (std::size_t left = items_.size(); left > 0; --left) finished_one();
    items_.clear();
  }
  if (!items_.empty()) return;
  while (!getters_.empty()) getters_.take_front().call.reply.set(shut_down_error());
}

void HostedQueue::abandoned(std::uint64_t session, std::uint64_t call) {
  if (getters_.remove(session, call) || putters_.remove(session, call)) return;
  joiners_.remove(session, call);
}

void HostedQueue::kept(std::uint64_t session, std::uint64_t call) {
  const auto found = std::find_if(given_.begin(), given_.end(), [&](const Given& given) {
    return given.session == session && given.call == call;
  });
  if (found == given_.end()) return;
  found->kept = true;
  if (!options_.joinable) given_.erase(found);
}

void HostedQueue::discarded(std::uint64_t session, std::uint64_t call) {
  const auto found = std::find_if(given_.begin(), given_.end(), [&](const Given& given) {
    return given.session == session && given.call == call && !given.kept;
  });
  if (found == given_.end()) return;
  std::vector<Given> back;
  back.push_back(std::move(*found));
  given_.erase(found);
  --back.front().item.delivery;  // nobody has seen it
  give_back(std::move(back));
}

void HostedQueue::session_ended(std::uint64_t session) {
  const auto mine = std::stable_partition(
      given_.begin(), given_.end(), [&](const Given& given) { return given.session != session; });
  std::vector<Given> back{std::make_move_iterator(mine), std::make_move_iterator(given_.end())};
  given_.erase(mine, given_.end());
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
