// Layer actors: calls of a hosted object that wait, in the order they came, each until its
// deadline.
#pragma once

#include <passel/detail/hosted_object.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <utility>

namespace passel::inline v0::detail {

/// The line in front of a hosted object: who gets what is free next. A call whose deadline comes is
/// answered with its error and leaves. A member of the object, used on the I/O thread alone.
///
///     void get(HostedCall&& call) {
///       if (items_.empty()) return line_.add(std::move(call), {}, Error{Errc::empty, "..."});
///       ...
///     }
///     void abandoned(std::uint64_t session, std::uint64_t call) override { line_.remove(session,
///     call); }
template <class Data>
class HostedLine {
 public:
  struct Waiting {
    HostedCall call;
    Data data;
    Error late;  ///< the answer when the time is up
    std::optional<IoLoop::TimerKey> timer = {};
  };

  HostedLine() = default;
  HostedLine(const HostedLine&) = delete;
  HostedLine& operator=(const HostedLine&) = delete;
  ~HostedLine() {
    for (Waiting& one : *waiting_) stop_timer(one);
  }

  /// Puts the call at the end. What its views show has been read by now.
  void add(HostedCall&& call, Data data, Error late) {
    call.method = {};
    call.args = {};
    call.descriptors = {};
    waiting_->push_back({std::move(call), std::move(data), std::move(late)});
    const auto place = std::prev(waiting_->end());
    waiting_->places.emplace(key_of(*place), place);
    if (!place->call.deadline) return;
    IoLoop& loop = place->call.site->loop();
    const std::uint64_t session = place->call.caller.session;
    const std::uint64_t id = place->call.id;
    place->timer =
        loop.at(Deadline::at(*place->call.deadline), [weak = std::weak_ptr{waiting_}, session, id] {
          if (const auto line = weak.lock()) expire(*line, session, id);
        });
  }

  /// `handle` gets the calls whose time is up, and answers them, instead of their error.
  void on_late(std::function<void(Waiting)> handle) { waiting_->late = std::move(handle); }

  [[nodiscard]] bool empty() const noexcept { return waiting_->empty(); }
  [[nodiscard]] std::size_t size() const noexcept { return waiting_->size(); }
  [[nodiscard]] Waiting& front() { return waiting_->front(); }
  /// The first one, to be answered now.
  [[nodiscard]] Waiting take_front() {
    Waiting first = waiting_->take(waiting_->begin());
    stop_timer(first);
    return first;
  }
  /// The first one of those, if any.
  template <class F>
  [[nodiscard]] std::optional<Waiting> take_first(F is_one) {
    const auto found = std::find_if(waiting_->begin(), waiting_->end(), is_one);
    if (found == waiting_->end()) return std::nullopt;
    Waiting first = waiting_->take(found);
    stop_timer(first);
    return first;
  }
  /// Takes out the call that was given up. False when it is not here.
  bool remove(std::uint64_t session, std::uint64_t call) {
    const auto found = waiting_->places.find({session, call});
    if (found == waiting_->places.end()) return false;
    Waiting gone = waiting_->take(found->second);
    stop_timer(gone);
    return true;
  }
  [[nodiscard]] auto begin() const noexcept { return waiting_->begin(); }
  [[nodiscard]] auto end() const noexcept { return waiting_->end(); }

 private:
  using Key = std::pair<std::uint64_t, std::uint64_t>;  // session, call

  struct List : std::list<Waiting> {
    std::function<void(Waiting)> late{};
    std::map<Key, typename std::list<Waiting>::iterator> places{};

    Waiting take(typename std::list<Waiting>::iterator place) {
      places.erase(key_of(*place));
      Waiting taken = std::move(*place);
      this->erase(place);
      return taken;
    }
  };

  static Key key_of(const Waiting& one) { return {one.call.caller.session, one.call.id}; }
  static void stop_timer(Waiting& one) {
    if (one.timer) one.call.site->loop().cancel(*one.timer);
    one.timer.reset();
  }
  static void expire(List& list, std::uint64_t session, std::uint64_t call) {
    const auto found = list.places.find({session, call});
    if (found == list.places.end()) return;
    Waiting late = list.take(found->second);
    if (list.late) return list.late(std::move(late));
    late.call.reply.set(std::move(late.late));
  }

  // Shared with timers that may be about to run when the object goes.
  std::shared_ptr<List> waiting_ = std::make_shared<List>();
};

}  // namespace passel::inline v0::detail
