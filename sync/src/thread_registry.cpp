// Layer sync: the threads of this process: who there is, who is calling, and their end.
#include "thread_registry.hpp"

#include <passel/detail/future_core.hpp>
#include <passel/finalize.hpp>
#include <passel/log.hpp>

#include <unistd.h>
#include <algorithm>
#include <cstdlib>
#include <functional>
#include <utility>

namespace passel::inline v0::detail {
namespace {

constinit thread_local ThreadState* this_thread = nullptr;
constinit thread_local bool keeper_is_gone = false;

/// Keeps the state of a thread while it runs, thread-local destructors included. A stand-in goes
/// with it.
struct CurrentThread {
  std::shared_ptr<ThreadState> state;

  CurrentThread() = default;
  CurrentThread(const CurrentThread&) = delete;
  CurrentThread& operator=(const CurrentThread&) = delete;
  ~CurrentThread() {
    this_thread = nullptr;
    keeper_is_gone = true;
    if (!state) return;
    ThreadRegistry& registry = ThreadRegistry::get();
    std::shared_ptr<ThreadState> left;
    const std::lock_guard lock{registry.mutex};
    // A stand-in that has become the main thread of a forked child stays, as main threads do.
    if (state->kind != ThreadKind::dummy) return;
    left = registry.leave(*state);
    state->stop();
  }
};
thread_local CurrentThread current_thread_keeper;

std::shared_ptr<ThreadState> make_main() {
  auto state = std::make_shared<ThreadState>(ThreadKind::main, "_MainThread");
  state->name = "MainThread";
  state->phase_word.store(static_cast<std::uint32_t>(ThreadPhase::started));
  state->native.store(static_cast<std::uint32_t>(::getpid()));
  return state;
}

void before_fork() {
  ThreadRegistry& registry = ThreadRegistry::get();
  registry.mutex.lock();
  registry.forker_is_main = ::gettid() == ::getpid();
}

void after_fork_in_parent() { ThreadRegistry::get().mutex.unlock(); }

/// Only the calling thread is here, with everybody's memory. What the others were working with is
/// left as it is, for ever: its destructors could rely on what only they could have done.
void after_fork_in_child() {
  ThreadRegistry& registry = ThreadRegistry::get();
  static std::vector<std::list<std::shared_ptr<ThreadState>>>* abandoned = nullptr;
  if (abandoned == nullptr) abandoned = new std::vector<std::list<std::shared_ptr<ThreadState>>>;
  static std::vector<std::vector<std::function<void()>>>* not_ours = nullptr;
  if (not_ours == nullptr) not_ours = new std::vector<std::vector<std::function<void()>>>;

  std::shared_ptr<ThreadState> self = registry.main;
  if (!registry.forker_is_main)
    self = this_thread != nullptr ? this_thread->shared_from_this() : make_main();
  for (const auto& state : registry.alive) {
    if (state == self) continue;
    state->rest.store(gone);
    state->stop();
  }
  abandoned->push_back(std::exchange(registry.alive, {}));
  not_ours->push_back(std::exchange(registry.at_exit, {}));
  registry.ending = false;
  if (self->kind == ThreadKind::dummy) {
    self->kind = ThreadKind::main;
    self->class_name = "_MainThread";
    self->name = "MainThread";
    self->daemon = false;
  }
  self->ident.store(::pthread_self());
  self->native.store(static_cast<std::uint32_t>(::getpid()));
  this_thread = self.get();
  registry.main = self;
  registry.enter(self);
  registry.mutex.unlock();
}

/// Made before main, while the process has the one thread that is its main thread; or by whoever
/// is earlier.
const bool made_at_start = (ThreadRegistry::get(), true);

/// Somebody whose end the end of the process has to wait for. A thread that waits for the one that
/// called exit is not among them, nor is that one itself; those that wait for the main thread are
/// told that it has ended.
std::shared_ptr<ThreadState> next_to_join() {
  ThreadRegistry& registry = ThreadRegistry::get();
  const ThreadState* self = known_current();
  const std::lock_guard lock{registry.mutex};
  if (self == nullptr) {
    // exit has destroyed the thread-local variables of its caller by now.
    const auto native = static_cast<std::uint32_t>(::gettid());
    for (const auto& state : registry.alive)
      if (state->native.load() == native) self = state.get();
  }
  for (const auto& state : registry.alive) {
    if (state->kind == ThreadKind::regular && state != registry.main && !state->daemon.load() &&
        (self == nullptr || self == registry.main.get() || !waits_for(*state, self)))
      return state;
  }
  return nullptr;
}

void run_at_exit() {
  ThreadRegistry& registry = ThreadRegistry::get();
  std::vector<std::function<void()>> callbacks;
  {
    const std::lock_guard lock{registry.mutex};
    registry.ending = true;
    callbacks.swap(registry.at_exit);
  }
  for (; !callbacks.empty(); callbacks.pop_back()) {
    try {
      callbacks.back()();
    } catch (...) {
      get_logger().error("a callback for the end of threads failed: " +
                         current_exception_error().what());
    }
  }
}

/// Returns the names of those that the deadline left running; the process does not wait for them
/// again.
std::vector<std::string> join_threads(Deadline deadline) {
  run_at_exit();
  ThreadRegistry& registry = ThreadRegistry::get();
  std::shared_ptr<ThreadState> main;
  {
    const std::lock_guard lock{registry.mutex};
    main = registry.main;
  }
  main->stop();
  std::vector<std::string> late;
  while (const auto state = next_to_join()) {
    get_logger().log(LogLevel::debug, [&] { return "joining " + Thread{state}.to_string(); });
    if (state->wait_gone(deadline)) continue;
    state->daemon = true;
    late.push_back("thread " + Thread{state}.name());
    get_logger().log(LogLevel::warning, [&] { return late.back() + " did not end in time"; });
  }
  return late;
}

/// The end of a Runtime. The main thread goes on afterwards.
std::vector<std::string> exit_step(Deadline deadline) {
  std::vector<std::string> late = join_threads(deadline);
  ThreadRegistry& registry = ThreadRegistry::get();
  const std::lock_guard lock{registry.mutex};
  registry.ending = false;
  registry.main->change(ThreadPhase::stopped, ThreadPhase::started);
  return late;
}

void at_process_exit() { static_cast<void>(join_threads(Deadline::never())); }

}  // namespace

ThreadRegistry::ThreadRegistry() : main{make_main()} {
  if (::gettid() == ::getpid()) main->ident.store(::pthread_self());
  enter(main);
}

ThreadRegistry& ThreadRegistry::get() {
  static_cast<void>(made_at_start);
  static ThreadRegistry* const registry = [] {
    auto* const made = new ThreadRegistry;
    ::pthread_atfork(&before_fork, &after_fork_in_parent, &after_fork_in_child);
    return made;
  }();
  return *registry;
}

void set_current_state(std::shared_ptr<ThreadState> state) {
  this_thread = state.get();
  current_thread_keeper.state = std::move(state);
}

std::shared_ptr<ThreadState> current_state() {
  if (this_thread != nullptr) return this_thread->shared_from_this();
  ThreadRegistry& registry = ThreadRegistry::get();
  if (::gettid() == ::getpid()) {
    const std::lock_guard lock{registry.mutex};
    this_thread = registry.main.get();
    this_thread->ident.store(::pthread_self());
    return registry.main;
  }
  auto state = std::make_shared<ThreadState>(ThreadKind::dummy, "_DummyThread");
  state->daemon = true;
  state->phase_word.store(static_cast<std::uint32_t>(ThreadPhase::started));
  state->native.store(static_cast<std::uint32_t>(::gettid()));
  state->ident.store(::pthread_self());
  // In the last destructors of a thread there is nobody left to take it out again.
  if (!keeper_is_gone) set_current_state(state);
  const std::lock_guard lock{registry.mutex};
  state->name = "Dummy-" + std::to_string(registry.next_number++);
  if (!keeper_is_gone) registry.enter(state);
  return state;
}

ThreadState* known_current() noexcept {
  if (this_thread == nullptr && ::gettid() == ::getpid())
    return current_state().get();  // the registry keeps it
  return this_thread;
}

bool waits_for(const ThreadState& state, const ThreadState* other) noexcept {
  for (const ThreadState* each = &state; each != nullptr; each = each->joining)
    if (each == other) return true;
  return false;
}

void ensure_exit_step() {
  ThreadRegistry& registry = ThreadRegistry::get();
  if (registry.has_exit_step.load(std::memory_order_acquire)) return;
  if (registry.has_exit_step.exchange(true)) return;
  set_exit_step(&exit_step);
  std::atexit(&at_process_exit);
}

}  // namespace passel::inline v0::detail
