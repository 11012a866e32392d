// Layer sync: threads, with the surface of Python's threading.Thread.
#include <passel/thread.hpp>

#include <passel/detail/misuse.hpp>

#include "thread_registry.hpp"

#include <cxxabi.h>
#include <unistd.h>
#include <algorithm>
#include <cstddef>
#include <cstring>

namespace passel::inline v0 {

using detail::Deadline;
using detail::ThreadKind;
using detail::ThreadPhase;
using detail::ThreadRegistry;
using detail::ThreadState;

namespace detail {
namespace {

/// The life of a thread that was started, from its first line to its last, however it is left.
class ThreadLife {
 public:
  explicit ThreadLife(ThreadState& state) : state_{state} {
    set_current_state(state.shared_from_this());
    state.ident.store(::pthread_self());
    state.set_native(::gettid());
    state.change(ThreadPhase::starting, ThreadPhase::started);
    ThreadRegistry& registry = ThreadRegistry::get();
    char short_name[16];
    {
      const std::lock_guard lock{registry.mutex};
      body_ = std::move(state.body);
      state.body_taken = true;
      state.hook = registry.hook;
      begin_ = registry.hook;
      std::size_t length = std::min(state.name.size(), sizeof short_name - 1);
      // No character of UTF-8 in halves.
      while (length > 0 && length < state.name.size() && (state.name[length] & 0xc0) == 0x80)
        --length;
      short_name[state.name.copy(short_name, length)] = '\0';
    }
    ::pthread_setname_np(::pthread_self(), short_name);
  }
  ThreadLife(const ThreadLife&) = delete;
  ThreadLife& operator=(const ThreadLife&) = delete;

  void run() {
    call_hook(begin_, state_, ThreadMoment::begin);
    try {
      if (body_) body_->run();
    } catch (const ThreadExit&) {
    } catch (...) {
      // Without a type it is no exception of C++ but pthread_exit, which must not be stopped.
      if (abi::__cxa_current_exception_type() == nullptr) throw;
      report_exception(state_);
    }
  }

  ~ThreadLife() {
    body_.reset();
    ThreadRegistry& registry = ThreadRegistry::get();
    std::shared_ptr<const ThreadHook> hook;
    {
      const std::lock_guard lock{registry.mutex};
      hook = std::move(state_.hook);
    }
    call_hook(hook, state_, ThreadMoment::end);
    std::shared_ptr<ThreadState> left;
    const std::lock_guard lock{registry.mutex};
    left = registry.leave(state_);
    state_.stop();
  }

 private:
  ThreadState& state_;
  std::unique_ptr<ThreadBody> body_;
  std::shared_ptr<const ThreadHook> begin_;
};

void* run_thread(void* state) {
  ThreadLife life{*static_cast<ThreadState*>(state)};
  life.run();
  return nullptr;
}

int create_thread(ThreadState& state, std::size_t stack) {
  pthread_t id{};
  int failed = 0;
  if (stack == 0) {
    failed = ::pthread_create(&id, nullptr, &run_thread, &state);
  } else {
    pthread_attr_t attributes;
    ::pthread_attr_init(&attributes);
    failed = ::pthread_attr_setstacksize(&attributes, stack);
    if (failed == 0) failed = ::pthread_create(&id, &attributes, &run_thread, &state);
    ::pthread_attr_destroy(&attributes);
  }
  if (failed != 0) return failed;
  // The thread does the same when it comes up, if it is the first: nobody has to wait for that.
  state.ident.store(id);
  state.change(ThreadPhase::starting, ThreadPhase::started);
  return 0;
}

}  // namespace
}  // namespace detail

void exit_thread() { throw ThreadExit{}; }

Thread::Thread() : Thread{ThreadOptions{}} {}

Thread::Thread(ThreadOptions options) : Thread{std::move(options), nullptr, "", "Thread"} {}

Thread::Thread(ThreadOptions options, std::unique_ptr<detail::ThreadBody> body,
               std::string_view target_name, std::string_view class_name)
    : state_{std::make_shared<ThreadState>(ThreadKind::regular, class_name)} {
  state_->daemon = options.daemon ? *options.daemon : detail::current_state()->daemon.load();
  state_->body = std::move(body);
  state_->name = std::move(options.name);
  if (!state_->name.empty()) return;
  ThreadRegistry& registry = ThreadRegistry::get();
  const std::lock_guard lock{registry.mutex};
  state_->name = "Thread-" + std::to_string(registry.next_number++);
  if (!target_name.empty()) state_->name.append(" (").append(target_name).append(")");
}

Result<Thread> Thread::started() const {
  PASSEL_CHECK(start());
  return *this;
}

Result<void> Thread::start() const {
  ThreadState& state = *state_;
  if (!state.change(ThreadPhase::initial, ThreadPhase::starting))
    return Error{Errc::invalid_state, "threads can only be started once"};
  detail::ensure_exit_step();
  ThreadRegistry& registry = ThreadRegistry::get();
  {
    const std::lock_guard lock{registry.mutex};
    registry.enter(state_);
  }
  const std::size_t stack = registry.stack_size.load();
  if (const int failed = detail::create_thread(state, stack)) {
    std::shared_ptr<ThreadState> left;
    const std::lock_guard lock{registry.mutex};
    left = registry.leave(state);
    state.change(ThreadPhase::starting, ThreadPhase::initial);
    state.set_native(0);
    state.tell();
    return Error{Errc::no_space,
                 "can't start new thread " + state.name + " beside " +
                     std::to_string(registry.alive.size()) + " others, with a stack of " +
                     (stack == 0 ? "the usual size" : std::to_string(stack) + " bytes") +
                     ": pthread_create: " + std::strerror(failed)};
  }
  return {};
}

Result<void> Thread::run() const {
  std::unique_ptr<detail::ThreadBody> body;
  {
    const std::lock_guard lock{ThreadRegistry::get().mutex};
    if (std::exchange(state_->body_taken, true))
      return Error{Errc::invalid_state, "the target of this thread has run already"};
    body = std::move(state_->body);
  }
  if (body) body->run();
  return {};
}

Result<void> Thread::join() const { return join_until(Deadline::never()); }

Result<void> Thread::join_until(Deadline deadline) const {
  ThreadState& state = *state_;
  ThreadState* const self = detail::known_current();
  ThreadRegistry& registry = ThreadRegistry::get();
  bool is_main = false;
  {
    const std::lock_guard lock{registry.mutex};
    is_main = state_ == registry.main;
    if (state.kind == ThreadKind::dummy)
      return Error{Errc::invalid_state, "cannot join a dummy thread"};
    if (state.phase() == ThreadPhase::initial || state.phase() == ThreadPhase::starting)
      return Error{Errc::invalid_state, "cannot join thread before it is started"};
    if (self == &state) return Error{Errc::invalid_state, "cannot join current thread"};
    if (self != nullptr && deadline.is_never()) {
      if (detail::waits_for(state, self))
        return Error{Errc::deadlock,
                     "cannot join thread " + state.name + ": it waits for the end of this one"};
      self->joining = &state;
    }
  }
  const bool ended = is_main ? state.wait_stopped(deadline) : state.wait_gone(deadline);
  if (self != nullptr && deadline.is_never()) {
    const std::lock_guard lock{registry.mutex};
    self->joining = nullptr;
  }
  if (ended) return {};
  return Error{Errc::timeout, "thread " + name() + " has not ended in time"};
}

bool Thread::is_alive() const noexcept { return state_->phase() == ThreadPhase::started; }

std::string Thread::name() const {
  const std::lock_guard lock{ThreadRegistry::get().mutex};
  return state_->name;
}

void Thread::set_name(std::string name) const {
  const std::lock_guard lock{ThreadRegistry::get().mutex};
  state_->name.swap(name);
}

bool Thread::daemon() const noexcept { return state_->daemon.load(); }

Result<void> Thread::set_daemon(bool daemon) const {
  if (state_->phase() != ThreadPhase::initial)
    return Error{Errc::invalid_state, "cannot set daemon status of active thread"};
  state_->daemon = daemon;
  return {};
}

std::optional<std::uint64_t> Thread::ident() const noexcept {
  const std::uint64_t ident = state_->ident.load();
  if (ident == 0) return std::nullopt;
  return ident;
}

std::optional<int> Thread::native_id() const noexcept { return state_->wait_native(); }

std::string Thread::to_string() const {
  std::string text{"<"};
  {
    const std::lock_guard lock{ThreadRegistry::get().mutex};
    text.append(state_->class_name).append("(").append(state_->name);
  }
  const ThreadPhase phase = state_->phase();
  text += phase == ThreadPhase::started   ? ", started"
          : phase == ThreadPhase::stopped ? ", stopped"
                                          : ", initial";
  if (daemon()) text += " daemon";
  if (const auto id = ident()) text += " " + std::to_string(*id);
  return text + ")>";
}

Thread current_thread() { return Thread{detail::current_state()}; }

Thread main_thread() {
  ThreadRegistry& registry = ThreadRegistry::get();
  const std::lock_guard lock{registry.mutex};
  return Thread{registry.main};
}

std::vector<Thread> enumerate_threads() {
  ThreadRegistry& registry = ThreadRegistry::get();
  std::vector<Thread> threads;
  const std::lock_guard lock{registry.mutex};
  for (const auto& state : registry.alive) threads.emplace_back(state);
  return threads;
}

std::size_t active_count() {
  ThreadRegistry& registry = ThreadRegistry::get();
  const std::lock_guard lock{registry.mutex};
  return registry.alive.size();
}

std::uint64_t get_ident() noexcept { return ::pthread_self(); }

int get_native_id() noexcept { return ::gettid(); }

std::size_t stack_size() noexcept { return ThreadRegistry::get().stack_size.load(); }

Result<std::size_t> set_stack_size(std::size_t bytes) {
  constexpr std::size_t least = 32768;
  if (bytes != 0 && bytes < least)
    return Error{Errc::invalid_argument, "size not valid: a stack of " + std::to_string(bytes) +
                                             " bytes, the least is " + std::to_string(least)};
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t over = bytes % page;
  return ThreadRegistry::get().stack_size.exchange(over == 0 ? bytes : bytes - over + page);
}

}  // namespace passel::inline v0
