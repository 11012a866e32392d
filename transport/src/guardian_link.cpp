// Layer transport: one process's line to the guardian.
#include "guardian_wire.hpp"

#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <map>
#include <thread>

namespace passel::inline v0::detail {

namespace {

Error no_descriptor() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return {
      Errc::no_space,
      "starting a process: no descriptor is free to watch it by, the limit (RLIMIT_NOFILE) is " +
          std::to_string(limit.rlim_cur)};
}

}  // namespace

struct GuardianLink::State {
  std::mutex mutex;
  std::condition_variable changed;
  std::uint64_t next_request = 1;
  std::map<std::uint64_t, std::optional<Result<Started>>> replies;
  bool reading = false;  // somebody is at the socket: everybody else waits for `changed`
  std::thread::id reader{};
  std::vector<std::byte> buffer;  // the reader's
  bool lost = false;
  ExitHandler on_exit;
  std::function<void()> on_lost;
  std::function<void(bool)> read_hook;
};

GuardianLink::GuardianLink(Descriptor control, ExitHandler on_exit, std::function<void()> on_lost)
    : control_{std::move(control)}, state_{std::make_unique<State>()} {
  state_->on_exit = std::move(on_exit);
  state_->on_lost = std::move(on_lost);
}

GuardianLink::~GuardianLink() = default;

bool GuardianLink::lost() const noexcept {
  const std::lock_guard lock{state_->mutex};
  return state_->lost;
}

bool GuardianLink::is_read_here() const noexcept {
  const std::lock_guard lock{state_->mutex};
  return state_->reader == std::this_thread::get_id();
}

void GuardianLink::set_read_hook(std::function<void(bool)> hook) {
  const std::lock_guard lock{state_->mutex};
  state_->read_hook = std::move(hook);
}

Result<GuardianLink::Started> GuardianLink::spawn(const SpawnRequest& request, Deadline deadline) {
  if (request.descriptors.size() + 1 > descriptors_limit)
    return Error{Errc::too_large, "process " + request.name + " is given " +
                                      std::to_string(request.descriptors.size()) +
                                      " handles, the limit is " +
                                      std::to_string(descriptors_limit - 1)};
  GuardianHeader header{.op = GuardianOp::spawn, .task = request.task, .image = request.image};
  header.flags = (request.daemon ? GuardianHeader::daemon : 0) |
                 (request.ignore_interrupt ? GuardianHeader::ignore_interrupt : 0);
  header.log_settings = request.log_settings;
  // Told before anything has begun, where that can be known.
  if (!Descriptor::duplicate(control_.get())) return no_descriptor();
  const std::optional<Result<Started>>* slot = nullptr;
  {
    const std::lock_guard lock{state_->mutex};
    header.request = state_->next_request++;
    slot = &state_->replies.emplace(header.request, std::nullopt).first->second;
  }
  const auto take_reply = [&]() -> std::optional<Result<Started>> {
    const std::lock_guard lock{state_->mutex};
    auto reply = std::move(state_->replies.extract(header.request).mapped());
    return reply;
  };
  if (auto sent =
          send_message(control_.get(), header, request.name, request.args, request.descriptors, 0);
      !sent) {
    take_reply();
    if (sent.error() == Errc::closed) return Error{Errc::peer_lost, "the guardian process is gone"};
    return sent.error();
  }
  wait_until([slot] { return slot->has_value(); }, deadline);
  if (auto reply = take_reply()) return std::move(*reply);
  if (lost()) return Error{Errc::peer_lost, "the guardian process is gone"};
  return Error{Errc::timeout, "the guardian did not start process " + request.name + " in time"};
}

Result<void> GuardianLink::adopt(const ProcessId& child, const std::string& name,
                                 const Descriptor& pidfd, Descriptor control_end) {
  const GuardianHeader header{.op = GuardianOp::adopt, .process = child};
  const int descriptors[] = {pidfd.get(), control_end.get()};
  return send_message(control_.get(), header, name, {}, descriptors, 0);
}

void GuardianLink::goodbye() noexcept {
  static_cast<void>(send_message(control_.get(), GuardianHeader{.op = GuardianOp::goodbye}, {}, {},
                                 {}, MSG_DONTWAIT)
                        .is_ok());
}

void GuardianLink::disown(const ProcessId& child) noexcept {
  const GuardianHeader header{.op = GuardianOp::disown, .process = child};
  static_cast<void>(send_message(control_.get(), header, {}, {}, {}, MSG_DONTWAIT).is_ok());
}

bool GuardianLink::wait_until(const std::function<bool()>& done, Deadline deadline) {
  std::unique_lock lock{state_->mutex};
  while (!done()) {
    if (state_->lost || deadline.passed()) return false;
    if (state_->reading) {
      if (deadline.is_never())
        state_->changed.wait(lock);
      else
        state_->changed.wait_until(lock, deadline.when());
      continue;
    }
    state_->reading = true;
    state_->reader = std::this_thread::get_id();
    // Asked for anew afterwards: it may have been taken away meanwhile, with what it refers to.
    if (state_->read_hook) state_->read_hook(true);
    while (!done() && !state_->lost && !deadline.passed()) {
      lock.unlock();
      pollfd ready{.fd = control_.get(), .events = POLLIN, .revents = 0};
      const timespec left = to_timespec(deadline.left());
      ::ppoll(&ready, 1, deadline.is_never() ? nullptr : &left, nullptr);
      lock.lock();
      while (read_one(lock)) {
      }
    }
    state_->reading = false;
    state_->reader = {};
    if (state_->read_hook) state_->read_hook(false);
    state_->changed.notify_all();
  }
  return true;
}

void GuardianLink::readable() {
  std::unique_lock lock{state_->mutex};
  if (state_->reading) return;
  state_->reading = true;
  state_->reader = std::this_thread::get_id();
  while (read_one(lock)) {
  }
  state_->reading = false;
  state_->reader = {};
  state_->changed.notify_all();
}

bool GuardianLink::read_one(std::unique_lock<std::mutex>& lock) {
  // Called with the lock held and `reading` set; gives the lock up while handlers run.
  if (state_->lost) return false;
  lock.unlock();
  auto message = receive_message(control_.get(), state_->buffer);
  lock.lock();
  if (!message) {
    if (message.error() == Errc::empty) return false;
    if (message.error() == Errc::malformed) return true;
    state_->lost = true;
    state_->changed.notify_all();
    lock.unlock();
    state_->on_lost();
    lock.lock();
    return false;
  }
  const GuardianHeader& header = message->header;
  if (header.op == GuardianOp::exited) {
    lock.unlock();
    state_->on_exit(
        header.process,
        ExitStatus{.code = header.code, .signal = header.signal, .peak_rss = header.peak_rss});
    lock.lock();
    state_->changed.notify_all();
    return true;
  }
  const auto reply = state_->replies.find(header.request);
  if (header.op == GuardianOp::started) {
    const bool wanted = reply != state_->replies.end();
    const bool usable = !message->incomplete && !message->descriptors.empty();
    if (wanted && usable) {
      reply->second =
          Started{.process = header.process, .pidfd = std::move(message->descriptors.front())};
    } else {
      // Whoever asked has given up, or there is no descriptor to watch it by. Without one it cannot
      // be signalled from here either: the guardian does that.
      disown(header.process);
      if (wanted) reply->second = no_descriptor();
    }
  } else if (header.op == GuardianOp::failed && reply != state_->replies.end()) {
    reply->second = system_error("starting a process", header.code);
  }
  state_->changed.notify_all();
  return true;
}

}  // namespace passel::inline v0::detail
