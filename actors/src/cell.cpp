// Layer actors: the inbox of an actor and the rules of running it. No engine here, no clock, no
// lock.
#include <passel/detail/actor_body.hpp>
#include <passel/detail/cell.hpp>
#include <passel/detail/futex.hpp>

#include <climits>
#include <cstdio>
#include <cstdlib>

namespace passel::inline v0 {

std::string ExitReason::to_string() const {
  switch (kind_) {
    case Kind::normal: return "normal";
    case Kind::stopped: return "stopped";
    case Kind::killed: return "killed";
    case Kind::unreachable: return "unreachable";
    case Kind::failed: break;
  }
  return error_ ? "failed: " + error_->to_string() : "failed";
}

namespace detail {
namespace {

constexpr unsigned nesting_limit = 16;

// Marks in the place of the inbox's newest node. nullptr: somebody runs the cell, nothing new.
constinit Op idle_mark_object;
constinit Op closed_mark_object;
constexpr Op* idle_mark = &idle_mark_object;
constexpr Op* closed_mark = &closed_mark_object;

/// A cell that a thread runs, and which one below it on its stack.
struct Running {
  Cell* cell;
  const Running* below;
};
struct ThreadState {
  unsigned depth = 0;
  const Running* top = nullptr;
};
// initial-exec: two instructions instead of a call, on the path of every message.
__attribute__((tls_model("initial-exec"))) thread_local constinit ThreadState thread_state;

Op* oldest_first(Op* list) noexcept {
  Op* first = nullptr;
  while (list != nullptr) {
    Op* const next = list->next;
    list->next = first;
    first = list;
    list = next;
  }
  return first;
}

}  // namespace

CellBody::~CellBody() = default;
void CellBody::on_exit(const ExitReason&) noexcept {}

Cell::Cell(std::unique_ptr<CellBody> body, std::string name)
    : head_{idle_mark}, body_{std::move(body)}, name_{std::move(name)} {
  nudge_.cell = this;
  nudge_.run = [](Op* op, Cell*) noexcept {
    static_cast<OwnOp*>(op)->cell->control_.fetch_and(~nudge_bit, std::memory_order_acq_rel);
  };
  last_.cell = this;
  last_.run = [](Op* op, Cell* cell) noexcept {
    Cell* const self = static_cast<OwnOp*>(op)->cell;
    self->handles_gone_ = true;
    if (cell != nullptr) cell->end_for_good(ExitReason::Kind::unreachable);
  };
}

Cell* Cell::current() noexcept {
  return thread_state.top != nullptr ? thread_state.top->cell : nullptr;
}

bool Cell::runs_here() const noexcept {
  for (const Running* each = thread_state.top; each != nullptr; each = each->below) {
    if (each->cell == this) return true;
  }
  return false;
}

bool Cell::post_with(Op* op, std::size_t limit) noexcept {
  Op* head = head_.load(std::memory_order_relaxed);
  for (;;) {
    if (head == idle_mark) {
      if (thread_state.depth < nesting_limit) {
        // The runner's own message never enters the inbox.
        if (head_.compare_exchange_weak(head, nullptr, std::memory_order_acquire)) {
          run_here(op, limit);
          return true;
        }
      } else {
        op->next = nullptr;
        if (head_.compare_exchange_weak(head, op, std::memory_order_acq_rel)) {
          schedule();
          return true;
        }
      }
    } else if (head == closed_mark) {
      return false;
    } else {
      op->next = head;
      if (head_.compare_exchange_weak(head, op, std::memory_order_release)) return true;
    }
  }
}

Cell::Pushed Cell::push(Op* op) noexcept {
  Op* head = head_.load(std::memory_order_relaxed);
  for (;;) {
    if (head == closed_mark) return Pushed::closed;
    op->next = head == idle_mark ? nullptr : head;
    if (head_.compare_exchange_weak(head, op, std::memory_order_acq_rel)) {
      return head == idle_mark ? Pushed::unblocked : Pushed::queued;
    }
  }
}

void Cell::hand_over(Op* op) noexcept {
  switch (push(op)) {
    case Pushed::queued: return;
    case Pushed::unblocked: return schedule();
    case Pushed::closed: return op->run(op, nullptr);
  }
}

void Cell::run_here(Op* first, std::size_t limit) noexcept {
  if (run(first, limit) == Outcome::more) schedule();
}

Cell::Outcome Cell::run(Op* first, std::size_t limit) noexcept {
  ThreadState& thread = thread_state;
  const Running frame{.cell = this, .below = thread.top};
  thread.top = &frame;
  ++thread.depth;
  const Outcome outcome = drain(first, limit);
  --thread.depth;
  thread.top = frame.below;
  return outcome;
}

Op* Cell::take() noexcept {
  if (list_ == nullptr) {
    if (head_.load(std::memory_order_relaxed) == nullptr) return nullptr;
    list_ = oldest_first(head_.exchange(nullptr, std::memory_order_acquire));
  }
  Op* const op = list_;
  list_ = op->next;
  return op;
}

Cell::Outcome Cell::drain(Op* first, std::size_t limit) noexcept {
  Op* op = first;
  for (;;) {
    if (op == nullptr) op = take();
    if (op == nullptr) {
      Op* head = nullptr;
      if (head_.compare_exchange_strong(head, idle_mark, std::memory_order_acq_rel))
        return Outcome::idle;
      continue;
    }
    if (control_.load(std::memory_order_acquire) > 0 && obey_control()) [[unlikely]] {
      op->next = list_;
      list_ = op;
      return leave();
    }
    if (limit == 0) {
      op->next = list_;
      list_ = op;
      return Outcome::more;
    }
    --limit;
    op->run(op, this);
    op = nullptr;
    if (state_ != State::active) [[unlikely]]
      return leave();
  }
}

bool Cell::obey_control() noexcept {
  const std::uint32_t wanted = control_.fetch_and(nudge_bit, std::memory_order_acq_rel);
  if ((wanted & abolish_bit) != 0) {
    end_for_good(ExitReason::Kind::killed);
    return true;
  }
  if ((wanted & kill_bit) != 0) {
    end(ExitReason::Kind::killed);
    return true;
  }
  if ((wanted & suspend_bit) != 0 && supervised_) {
    end(ExitReason::Kind::stopped);
    return true;
  }
  return false;
}

Cell::Outcome Cell::leave() noexcept {
  if (supervised_) {
    state_ = State::suspended;
    const ExitReason reason = exit_;
    body_->on_exit(reason);
    return Outcome::suspended;
  }
  retire();
  return Outcome::ended;
}

void Cell::retire() noexcept {
  keep();
  Op* rest = oldest_first(head_.exchange(closed_mark, std::memory_order_acq_rel));
  for (Op* list : {std::exchange(list_, nullptr), rest}) {
    while (list != nullptr) {
      Op* const op = list;
      list = op->next;
      op->run(op, nullptr);
    }
  }
  body_.reset();
  if (ended_.exchange(1, std::memory_order_acq_rel) == 2)
    futex_wake(ended_, INT_MAX, FutexScope::process);
  announce_end();
  if (handles_gone_) let_go();
  let_go();
}

void Cell::end(ExitReason reason) noexcept {
  if (state_ == State::ending) return;
  state_ = State::ending;
  exit_ = std::move(reason);
}

void Cell::stop() noexcept {
  post_or_cancel(make_op([](Cell* cell) {
    if (cell != nullptr) cell->end(ExitReason::Kind::stopped);
  }));
}

void Cell::control(std::uint32_t bit) noexcept {
  const std::uint32_t before = control_.fetch_or(bit | nudge_bit, std::memory_order_acq_rel);
  if ((before & nudge_bit) == 0) post_or_cancel(&nudge_);
}

void Cell::resume(Op* op) noexcept {
  state_ = State::active;
  if (thread_state.depth < nesting_limit) {
    run_here(op, inline_limit);
    return;
  }
  if (op != nullptr) {
    op->next = list_;
    list_ = op;
  }
  schedule();
}

void Cell::resume_elsewhere() noexcept {
  state_ = State::active;
  schedule();
}

bool Cell::try_add_handle() noexcept {
  std::uint32_t count = handles_.load(std::memory_order_relaxed);
  while (count != 0) {
    if (handles_.compare_exchange_weak(count, count + 1, std::memory_order_relaxed)) return true;
  }
  return false;
}

void Cell::last_handle_gone() noexcept {
  if (!post(&last_)) let_go();
}

void Cell::monitor(std::function<void(const ExitReason&)> told) { attach_monitor(std::move(told)); }

bool Cell::wait_ended(Deadline deadline) const noexcept {
  std::uint32_t word = ended_.load(std::memory_order_acquire);
  bool in_time = true;
  while (word != 1 && in_time) {
    if (word == 0 && !ended_.compare_exchange_strong(word, 2, std::memory_order_acq_rel)) continue;
    in_time = futex_wait(ended_, 2, deadline, FutexScope::process);
    word = ended_.load(std::memory_order_acquire);
  }
  return word == 1;
}

void ReplySlot::wake() noexcept { futex_wake(word_, 1, FutexScope::process); }

ReplySlot::Answer ReplySlot::sleep() noexcept {
  std::uint32_t word = none;
  word_.compare_exchange_strong(word, waiting, std::memory_order_acq_rel);
  while ((word = word_.load(std::memory_order_acquire)) <= waiting) {
    futex_wait(word_, waiting, Deadline::never(), FutexScope::process);
  }
  return static_cast<Answer>(word);
}

Error actor_gone_error(const Cell* cell) {
  if (cell == nullptr) return Error{Errc::closed, "the actor ended before it handled this message"};
  std::string text = "actor '" + cell->name() + "' has ended";
  if (cell->has_ended()) text += ": " + cell->exit_reason().to_string();
  return Error{Errc::closed, std::move(text)};
}

Error self_call_error(const Cell& cell) {
  return Error{Errc::deadlock,
               "a handler of actor '" + cell.name() + "' waits for a call to itself"};
}

void self_call(const Cell& cell) noexcept {
  std::fprintf(stderr, "passel: a handler of actor '%s' waits for a call to itself\n",
               cell.name().c_str());
  std::abort();
}

}  // namespace detail
}  // namespace passel::inline v0
