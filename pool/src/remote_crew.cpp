// Layer pool: submitting tasks to a broker, wherever it is.
#include <passel/detail/remote_crew.hpp>

#include <passel/base_manager.hpp>
#include <passel/detail/shared_object.hpp>

#include "broker_messages.hpp"

#include <algorithm>

namespace passel::inline v0::detail {
namespace {

/// In an answer of this thread's, which must not wait for others: it may be the one who reads them.
thread_local bool answering = false;

std::int64_t nanoseconds(std::chrono::nanoseconds time) { return time.count(); }

TaskOrder order_of(std::string_view name, const TaskOptions& options, std::vector<std::byte> args,
                   UnknownTask unknown) {
  TaskOrder order;
  order.task = name;
  order.label = options.name.empty() ? order.task : options.name;
  order.attempts = options.attempts;
  order.retry_failures = options.retry_on == RetryOn::any_error;
  order.priority = options.priority;
  order.backoff_ns = nanoseconds(options.backoff);
  if (options.deadline) order.deadline_ns = nanoseconds(*options.deadline);
  if (options.time_limit) order.limit_ns = nanoseconds(*options.time_limit);
  order.grace_ns = nanoseconds(options.grace);
  order.may_wait = unknown == UnknownTask::waits;
  order.args = std::move(args);
  return order;
}

}  // namespace

RemoteCrew::RemoteCrew(RemoteExecutorOptions options)
    : options_{std::move(options)}, generation_{fork_generation()}, places_{options_.max_pending} {}
RemoteCrew::~RemoteCrew() = default;

Result<std::shared_ptr<RemoteCrew>> RemoteCrew::connect(RemoteExecutorOptions options) {
  if (options.max_pending < 1)
    return Error{Errc::invalid_argument, "max_pending must be at least 1, not 0"};
  auto crew = std::make_shared<RemoteCrew>(std::move(options));
  PASSEL_CHECK(crew->broker(Deadline::never()));
  return crew;
}

Result<std::shared_ptr<ProxyCore>> RemoteCrew::broker(Deadline deadline) {
  std::unique_lock lock{mutex_};
  while (!broker_ || broker_lost_) {
    if (!connecting_) {
      connecting_ = true;
      lock.unlock();
      auto made = connect_broker(deadline);
      lock.lock();
      connecting_ = false;
      ++attempts_;
      why_failed_.reset();
      if (made) {
        broker_ = *made;
        broker_lost_ = false;
      } else if (!deadline.passed()) {
        why_failed_ = made.error();
      }
      connected_.notify_all();
      return made;
    }
    if (on_io_thread())
      return Error{Errc::invalid_state, "on the I/O thread nobody waits for a connection with " +
                                            to_string(options_.address)};
    const auto is_over = [this, before = attempts_] { return attempts_ != before; };
    if (deadline.is_never()) {
      connected_.wait(lock, is_over);
    } else if (!connected_.wait_until(lock, deadline.when(), is_over)) {
      return Error{Errc::timeout,
                   "no connection with " + to_string(options_.address) + " in the time given"};
    }
    if (why_failed_) return *why_failed_;
  }
  return broker_;
}

Result<std::shared_ptr<ProxyCore>> RemoteCrew::connect_broker(Deadline deadline) const {
  BaseManager manager{{.address = options_.address,
                       .authkey = options_.authkey,
                       .certificates = options_.certificates}};
  PASSEL_CHECK(manager.connect_for(deadline.left()));
  PASSEL_TRY(const DynamicProxy found, manager.create(broker_type, options_.pool));
  SubmitterHello hello;
  hello.build = build_id();
  for (const auto& entry : options_.tasks.entries()) hello.tasks.push_back(entry.sign);
  hello.may_wait = options_.unknown_task == UnknownTask::waits;
  PASSEL_CHECK(found.call_for<void>(deadline.left(), "meet", hello));
  return found.core();
}

std::optional<Error> RemoteCrew::refusal() const {
  const std::lock_guard lock{mutex_};
  if (!closed_) return std::nullopt;
  return Error{Errc::invalid_state, "cannot schedule new futures after shutdown"};
}

Result<std::string_view> RemoteCrew::name_of(TaskId task, const std::string& called) const {
  if (const auto* entry = options_.tasks.find(task)) return std::string_view{entry->sign.name};
  std::string known;
  for (const std::string& one : options_.tasks.signatures())
    known += (known.empty() ? "" : ", ") + one;
  return Error{Errc::invalid_argument, "'" + called +
                                           "' is not among the exposed tasks of this executor: " +
                                           (known.empty() ? "there are none" : known)};
}

Result<RemoteCrew::Place> RemoteCrew::admit(Deadline deadline) {
  if (auto why = refusal()) return *std::move(why);
  // Whoever reads answers must not wait for one.
  if (answering || on_io_thread()) {
    places_.enter_at_once();
  } else {
    PASSEL_CHECK(places_.enter(deadline));
  }
  Place place{this, [self = shared_from_this()](void*) { self->places_.leave(); }};
  if (auto why = refusal()) return *std::move(why);
  return place;
}

ProxyCore::Pending RemoteCrew::send_order(Place place, std::string_view name,
                                          const TaskOptions& options, std::vector<std::byte> args,
                                          Deadline deadline, SessionLink::Answered answered_with) {
  untold_.enter_at_once();
  Place untold{this, [self = shared_from_this()](void*) { self->untold_.leave(); }};
  // The server decides that the time is up; it is not waited for much longer.
  const Deadline end = SessionCall{.target = 0,
                                   .method = {},
                                   .args = {},
                                   .deadline = options.deadline ? Deadline::after(*options.deadline)
                                                                : Deadline::never(),
                                   .patience = server_patience}
                           .end();
  const Deadline until = deadline.is_try() ? Deadline::after(server_patience) : deadline;
  const auto broker = this->broker(until.when() < end.when() ? until : end);
  if (!broker) {
    place.reset();
    answered_with(broker.error());
    return {};
  }
  auto encoded = encode_pack(order_of(name, options, std::move(args), options_.unknown_task));
  if (!encoded) {
    place.reset();
    answered_with(encoded.error());
    return {};
  }
  return (*broker)->call_async("submit", *std::move(encoded), end,
                               [self = shared_from_this(), by = *broker, place = std::move(place),
                                untold = std::move(untold), tell = std::move(answered_with)](
                                   Result<SessionReply> reply) mutable {
                                 self->answered(by, reply);
                                 // Whoever sees the answer may submit.
                                 place.reset();
                                 const bool before = std::exchange(answering, true);
                                 tell(std::move(reply));
                                 answering = before;
                                 untold.reset();
                               });
}

void RemoteCrew::answered(const std::shared_ptr<ProxyCore>& by, const Result<SessionReply>& reply) {
  if (reply || (reply.error() != Errc::peer_lost && reply.error() != Errc::stale_object)) return;
  const std::lock_guard lock{mutex_};
  if (by == broker_) broker_lost_ = true;
}

Result<RemotePoolStats> RemoteCrew::stats() {
  PASSEL_TRY(const auto broker, this->broker(Deadline::never()));
  return call_object<RemotePoolStats>(broker, "report", encode_pack(), Deadline::never());
}

void RemoteCrew::close(bool cancel) {
  {
    const std::lock_guard lock{mutex_};
    closed_ = true;
  }
  places_.close();
  if (cancel) roll_->cancel_all();
}

Result<void> RemoteCrew::join(Deadline deadline) {
  if (fork_generation() != generation_) return {};  // the answers are for the parent
  // A call has its place before it counts among the untold.
  for (CallPlaces* const calls : {&places_, &untold_}) {
    if (const std::size_t left = calls->drain(deadline); left != 0)
      return Error{Errc::timeout, std::to_string(left) + " tasks are not done"};
  }
  return {};
}

}  // namespace passel::inline v0::detail
