// Layer actors: one actor of this process, seen without its engine: an inbox of operations around a
// body.
#pragma once

#include <passel/detail/deadline.hpp>
#include <passel/exit_reason.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace passel::inline v0::detail {

class Cell;

/// One message: a node of the inbox, on the heap or on the stack of a caller that waits for it.
/// `run` is called once, with the cell while the caller owns it alone, or with nullptr when the
/// cell ended first. It owns its node and must not throw.
struct Op {
  Op* next = nullptr;
  void (*run)(Op* op, Cell* cell) noexcept = nullptr;
};

/// What a cell holds. All members are called by whoever runs the cell, one at a time.
class PASSEL_API CellBody {
 public:
  CellBody() = default;
  CellBody(const CellBody&) = delete;
  CellBody& operator=(const CellBody&) = delete;
  /// Runs when the cell has ended, before its monitors are told.
  virtual ~CellBody();
  /// A supervised cell was suspended: by its end (any reason) or by Cell::suspend (reason
  /// `stopped`). The receiver decides and calls Cell::resume, now or later. Nothing of the cell may
  /// be touched after the decision was handed on.
  virtual void on_exit(const ExitReason& reason) noexcept;
};

/// An actor: operations of any thread run one at a time, in the order of each sender, on the stack
/// of the sender when the cell is idle, else taken along by whoever runs it. At most 64 of them are
/// run by one sender, at most 16 sends nest on one stack; the rest goes to the engine's threads.
/// Handlers must therefore not block.
///
/// | inbox   | meaning                                                        |
/// | ------- | -------------------------------------------------------------- |
/// | idle    | nobody runs it; the next sender becomes the runner             |
/// | running | a thread, a scheduled job, or a suspension owns it alone       |
/// | closed  | ended; post returns false                                      |
class PASSEL_API Cell {
 public:
  Cell(const Cell&) = delete;
  Cell& operator=(const Cell&) = delete;

  /// Takes `op`, and perhaps runs it and others before it returns. False when the cell has ended:
  /// `op` is untouched.
  [[nodiscard]] bool post(Op* op) noexcept { return post_with(op, inline_limit); }
  /// The same for a thread that must not run what others sent, because they may call user code: the
  /// engine's threads go on behind `op`.
  [[nodiscard]] bool post_alone(Op* op) noexcept { return post_with(op, 1); }
  /// Leaves `op` to the engine's threads; an ended cell cancels it.
  void hand_over(Op* op) noexcept;
  /// post; an ended cell cancels the op.
  void post_or_cancel(Op* op) noexcept {
    if (!post(op)) op->run(op, nullptr);
  }

  /// Ends the cell when what was sent before has been handled.
  void stop() noexcept;
  /// Ends it before the next message; the ones that wait are cancelled.
  void kill() noexcept { control(kill_bit); }
  /// The same even when it is supervised: nobody restarts it.
  void abolish() noexcept { control(abolish_bit); }
  /// Supervised cells: suspends it before the next message; messages wait.
  void suspend() noexcept { control(suspend_bit); }
  /// Goes on with a suspended cell: `op`, when there is one, comes first. Once for each suspension.
  void resume(Op* op) noexcept;
  /// The same without an operation, on the engine's threads: whoever decides need not run what
  /// waited meanwhile.
  void resume_elsewhere() noexcept;

  /// `told(reason)` once when the cell has ended, on the ending thread; at once when it has. It
  /// must not throw or block.
  void monitor(std::function<void(const ExitReason&)> told);
  /// Runs `function(cell)` in the cell at that time, unless it has ended. Keeps its memory until
  /// then, not its life.
  void run_at(Deadline::Clock::time_point when, std::function<void(Cell&)> function) {
    arm_timer(when, std::move(function));
  }
  /// Waits until it has ended; false when the time was up.
  bool wait_ended(Deadline deadline) const noexcept;
  [[nodiscard]] bool has_ended() const noexcept {
    return ended_.load(std::memory_order_acquire) == 1;
  }
  /// Why; only when it has ended.
  [[nodiscard]] const ExitReason& exit_reason() const noexcept { return exit_; }
  [[nodiscard]] const std::string& name() const noexcept { return name_; }

  // For the operation that runs:
  template <class B>
  [[nodiscard]] B& body() noexcept {
    return static_cast<B&>(*body_);
  }
  template <class B>
  [[nodiscard]] bool holds() const noexcept {
    return dynamic_cast<const B*>(body_.get()) != nullptr;
  }
  /// The cell ends (or, supervised, is suspended) when the present operation is over. The first
  /// reason counts.
  void end(ExitReason reason) noexcept;
  /// From now on its end is a suspension that the body's on_exit is told of; false gives that up.
  void supervise(bool on) noexcept { supervised_ = on; }
  /// Ends it although it is supervised.
  void end_for_good(ExitReason reason) noexcept {
    supervised_ = false;
    end(std::move(reason));
  }

  /// The cell whose operation the calling thread runs, or nullptr.
  [[nodiscard]] static Cell* current() noexcept;
  /// The calling thread runs this cell, perhaps further down its stack: to wait for it would never
  /// end.
  [[nodiscard]] bool runs_here() const noexcept;

  void add_handle() noexcept { handles_.fetch_add(1, std::memory_order_relaxed); }
  void drop_handle() noexcept {
    if (handles_.fetch_sub(1, std::memory_order_acq_rel) == 1) last_handle_gone();
  }
  /// False when the last handle is gone already.
  [[nodiscard]] bool try_add_handle() noexcept;

 protected:
  enum class Outcome { idle, more, suspended, ended };

  Cell(std::unique_ptr<CellBody> body, std::string name);
  ~Cell() = default;

  /// Runs `first` and what else is there, at most `limit` operations. `idle`, `suspended` and
  /// `ended` mean: touch nothing of it any more.
  [[nodiscard]] Outcome run(Op* first, std::size_t limit) noexcept;
  /// Puts `op` into the inbox; the caller schedules the cell when this returns `unblocked`.
  enum class Pushed { queued, unblocked, closed };
  [[nodiscard]] Pushed push(Op* op) noexcept;
  void retire() noexcept;

  /// Has the engine's threads call drain.
  virtual void schedule() noexcept = 0;
  /// Monitors, links and the engine's list; `exit_` is set.
  virtual void announce_end() noexcept = 0;
  virtual void arm_timer(Deadline::Clock::time_point when, std::function<void(Cell&)> function) = 0;
  virtual void attach_monitor(std::function<void(const ExitReason&)> told) = 0;
  /// References that keep the memory.
  virtual void keep() noexcept = 0;
  virtual void let_go() noexcept = 0;

 private:
  enum class State : std::uint8_t { active, ending, suspended };
  static constexpr std::size_t inline_limit = 64;
  static constexpr std::uint32_t kill_bit = 1;
  static constexpr std::uint32_t suspend_bit = 2;
  static constexpr std::uint32_t abolish_bit = 4;
  static constexpr std::uint32_t nudge_bit = 8;  // nudge_ is in the inbox

  struct OwnOp : Op {
    Cell* cell = nullptr;
  };

  void control(std::uint32_t bit) noexcept;
  [[nodiscard]] bool obey_control() noexcept;
  [[nodiscard]] Outcome drain(Op* first, std::size_t limit) noexcept;
  [[nodiscard]] Op* take() noexcept;
  [[nodiscard]] Outcome leave() noexcept;
  [[nodiscard]] bool post_with(Op* op, std::size_t limit) noexcept;
  void run_here(Op* first, std::size_t limit) noexcept;
  void last_handle_gone() noexcept;

  std::atomic<Op*> head_;
  Op* list_ = nullptr;  // taken out of the inbox, oldest first; the runner's
  std::atomic<std::uint32_t> control_{0};
  State state_ = State::active;
  bool supervised_ = false;
  bool handles_gone_ = false;
  std::atomic<std::uint32_t> handles_{1};
  mutable std::atomic<std::uint32_t> ended_{0};  // 0 no, 1 yes, 2 no and somebody waits for it
  std::unique_ptr<CellBody> body_;
  ExitReason exit_;
  OwnOp nudge_;
  OwnOp last_;
  std::string name_;
};

/// A counted handle of a cell. When the last one is dropped the cell ends (`unreachable`) after
/// what was sent before.
class CellRef {
 public:
  CellRef() = default;
  /// Takes over one counted handle.
  explicit CellRef(Cell* cell) noexcept : cell_{cell} {}
  CellRef(const CellRef& other) noexcept : cell_{other.cell_} {
    if (cell_ != nullptr) cell_->add_handle();
  }
  CellRef(CellRef&& other) noexcept : cell_{std::exchange(other.cell_, nullptr)} {}
  CellRef& operator=(CellRef other) noexcept {
    std::swap(cell_, other.cell_);
    return *this;
  }
  ~CellRef() {
    if (cell_ != nullptr) cell_->drop_handle();
  }

  [[nodiscard]] explicit operator bool() const noexcept { return cell_ != nullptr; }
  [[nodiscard]] Cell* get() const noexcept { return cell_; }
  Cell* operator->() const noexcept { return cell_; }
  Cell& operator*() const noexcept { return *cell_; }
  friend bool operator==(const CellRef&, const CellRef&) = default;

 private:
  Cell* cell_ = nullptr;
};

struct CellOptions {
  std::string name = {};
};

/// A new cell around `body`. Errors: invalid_state while the engine is being stopped, no_space when
/// there are no threads for it.
[[nodiscard]] PASSEL_API Result<CellRef> make_cell(std::unique_ptr<CellBody> body,
                                                   CellOptions options = {});

/// Runs `function(cell)` in the cell and waits for it; false when the cell has ended. The operation
/// lives on the caller's stack. Calling from inside a handler of the same cell would never return:
/// that is a bug and aborts with its name.
template <class F>
bool call_in(Cell& cell, F&& function);
/// The same by Cell::post_alone.
template <class F>
bool call_alone(Cell& cell, F&& function);

/// Any function as an operation on the heap: `function(cell)`, cell == nullptr when cancelled. It
/// must not throw.
template <class F>
[[nodiscard]] Op* make_op(F function) {
  struct Node final : Op {
    explicit Node(F f) : function{std::move(f)} {
      run = [](Op* op, Cell* cell) noexcept {
        const std::unique_ptr<Node> self{static_cast<Node*>(op)};
        self->function(cell);
      };
    }
    F function;
  };
  return new Node{std::move(function)};
}

/// Where a caller waits for an operation of its own. Set once; the setter touches nothing
/// afterwards.
class PASSEL_API ReplySlot {
 public:
  enum Answer : std::uint32_t { none = 0, waiting = 1, done = 2, gone = 3 };
  void set(Answer answer) noexcept {
    if (word_.exchange(answer, std::memory_order_acq_rel) == waiting) wake();
  }
  [[nodiscard]] Answer wait() noexcept {
    const std::uint32_t word = word_.load(std::memory_order_acquire);
    return word > waiting ? static_cast<Answer>(word) : sleep();
  }

 private:
  void wake() noexcept;
  [[nodiscard]] Answer sleep() noexcept;
  std::atomic<std::uint32_t> word_{none};
};

[[noreturn]] PASSEL_API void self_call(const Cell& cell) noexcept;

template <bool (Cell::*post)(Op*) noexcept, class F>
bool call_by(Cell& cell, F&& function) {
  struct Call final : Op {
    explicit Call(F& f) : function{f} {
      run = [](Op* op, Cell* where) noexcept {
        auto* const self = static_cast<Call*>(op);
        if (where != nullptr) self->function(*where);
        self->slot.set(where != nullptr ? ReplySlot::done : ReplySlot::gone);
      };
    }
    F& function;
    ReplySlot slot;
  };
  if (cell.runs_here()) self_call(cell);
  Call call{function};
  return (cell.*post)(&call) && call.slot.wait() == ReplySlot::done;
}
template <class F>
bool call_in(Cell& cell, F&& function) {
  return call_by<&Cell::post>(cell, function);
}
template <class F>
bool call_alone(Cell& cell, F&& function) {
  return call_by<&Cell::post_alone>(cell, function);
}

/// Kills every cell of this process' engine and takes the engine down; the next cell makes a new
/// one. Returns the names of the cells that did not end in time (their engine is then left
/// running). Never call it from a handler.
PASSEL_API std::vector<std::string> stop_engine(Deadline deadline);
/// How many cells have not ended.
[[nodiscard]] PASSEL_API std::size_t live_cells();

}  // namespace passel::inline v0::detail
