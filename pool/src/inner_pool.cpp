// Layer pool: the pool of a task, as that task sees it from its worker process.
#include "inner_pool.hpp"

#include <passel/detail/quiet_thread.hpp>

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

namespace passel::inline v0::detail {
namespace {

// So many cells are left for what is no call.
constexpr std::uint64_t spare_cells = 16;

}  // namespace

Result<InnerPool::Opened> InnerPool::open(std::uint64_t max_message, unsigned processes) {
  PASSEL_TRY(PoolEnd::Created line, PoolEnd::create(max_message));
  Opened opened;
  opened.pool = std::make_shared<InnerPool>(std::move(line.end), max_message, processes);
  PASSEL_TRY(opened.pool->reader_,
             start_quiet_thread("passel.inner", [pool = opened.pool.get()] { pool->read(); }));
  opened.for_pool = std::move(line.for_worker);
  return opened;
}

InnerPool::InnerPool(std::unique_ptr<PoolEnd> line, std::uint64_t max_message, unsigned processes)
    : max_message_{max_message}, processes_{processes}, line_{std::move(line)} {}

InnerPool::~InnerPool() {
  if (WaitObserver::current() == this) WaitObserver::exchange(nullptr);
  quit_.store(true);
  ::shutdown(line_->socket(), SHUT_RDWR);
  if (reader_.joinable()) reader_.join();
  Lock lock{mutex_};
  fail({Errc::broken, "the worker of this task has ended"}, lock);
  refuse(lock);
}

std::optional<Error> InnerPool::refusal() const {
  const Lock lock{mutex_};
  return failure_;
}

Result<void> InnerPool::join(Deadline) {
  return Error{Errc::invalid_state, "a task cannot join the pool that runs it"};
}

// --- calls

void InnerPool::submit(std::unique_ptr<PoolJob> job) {
  PoolJob* const mine = job.release();
  if (mine->count() == 0) return mine->finished();
  Lock lock{mutex_};
  feed_.push_back(mine);
  if (failure_) {
    fail(Error{*failure_}, lock);
  } else {
    post_more(lock);
  }
  refuse(lock);
}

/// Numbers whose places belong to calls that are open for long, streams above all, are left out.
/// False when there is no room at the moment.
bool InnerPool::find_number() {
  for (std::size_t tries = 0; tries < open_.size() / 2; ++tries) {
    if (line_->unclaimed() >= ChannelLayout::cells - spare_cells) return false;
    if (open_[(line_->last_posted() + 1) % open_.size()].job == nullptr) return true;
    InnerMessage{.kind = InnerMessage::Kind::nothing}.write({}, scratch_);
    const auto posted = line_->post({.args = scratch_});
    if (!posted || *posted != PoolEnd::Posted::yes) return false;
  }
  return false;
}

void InnerPool::post_more(Lock&) {
  while (!feed_.empty() && unanswered_ < open_.size() / 2) {
    PoolJob& job = *feed_.front();
    const std::size_t index = job.fed_;
    if (!find_number() || !post(job, index)) break;
    if (++job.fed_ == job.count()) feed_.pop_front();
  }
  line_->flush();
}

/// False when there is no room at the moment.
bool InnerPool::post(PoolJob& job, std::size_t index) {
  if (!std::exchange(begun_, true) && !job.begin(index)) {
    begun_ = false;
    refusals_.push_back(
        {&job, index, {Errc::cancelled, "the task was cancelled before it started"}});
    return true;
  }
  const PoolJob::Payload payload = job.payload(index);
  InnerMessage::call_with(job.terms()).write(payload.args, scratch_);
  Result<PoolEnd::Posted> posted = PoolEnd::Posted::yes;
  if (payload.size() > max_message_) {
    posted = Error{Errc::too_large, "arguments of " + std::to_string(payload.size()) +
                                        " bytes are over the limit of " +
                                        std::to_string(max_message_) + " bytes"};
  } else {
    posted = line_->post({.task = job.task_,
                          .args = scratch_,
                          .tail = payload.tail,
                          .descriptors = payload.descriptors});
  }
  if (!posted) {
    begun_ = false;
    refusals_.push_back({&job, index, posted.error()});
    return true;
  }
  if (*posted != PoolEnd::Posted::yes) return false;
  begun_ = false;
  const std::uint64_t number = line_->last_posted();
  open_[number % open_.size()] = {.job = &job, .index = index, .number = number};
  ++unanswered_;
  return true;
}

/// Sends what is no call. There is room for it as soon as the pool has looked.
void InnerPool::tell(InnerMessage message, Lock& lock) {
  for (;;) {
    if (failure_) return;
    // It may have the place of an open call: no answer to it will come.
    message.write({}, scratch_);
    const auto posted = line_->post({.args = scratch_});
    line_->flush();
    if (posted && *posted == PoolEnd::Posted::yes) return;
    lock.unlock();
    std::this_thread::sleep_for(std::chrono::microseconds{100});
    lock.lock();
  }
}

void InnerPool::stop(const PoolJob* job, std::uint64_t serial) {
  Lock lock{mutex_};
  if (failure_) return;
  const auto fed = std::find(feed_.begin(), feed_.end(), job);
  if (fed != feed_.end() && (*fed)->serial_ == serial) {
    PoolJob& mine = **fed;
    if (fed == feed_.begin()) begun_ = false;
    feed_.erase(fed);
    while (mine.fed_ < mine.count()) {
      refusals_.push_back(
          {&mine, mine.fed_++, {Errc::cancelled, "the task was cancelled before it started"}});
    }
  }
  std::vector<std::uint64_t> numbers;
  for (const Entry& entry : open_) {
    if (entry.job == job && entry.job != nullptr && entry.job->serial_ == serial)
      numbers.push_back(entry.number);
  }
  for (const std::uint64_t number : numbers)
    tell({.kind = InnerMessage::Kind::stop, .number = number}, lock);
  refuse(lock);
}

void InnerPool::tell_taken(const PoolJob* job, std::uint64_t serial, std::uint32_t items) {
  const Lock lock{mutex_};
  if (failure_) return;
  for (const Entry& entry : open_) {
    if (entry.job == nullptr || entry.job != job || entry.job->serial_ != serial) continue;
    return line_->tell_taken(entry.number, items);
  }
}

// --- answers

void InnerPool::read() {
  pollfd news{.fd = line_->socket(), .events = POLLIN, .revents = 0};
  while (!quit_.load()) {
    Lock lock{mutex_};
    const bool open = line_->hear_all();
    do {
      read_answers(lock);
      post_more(lock);
      refuse(lock);
    } while (line_->go_to_sleep());
    if (!open) {
      if (!quit_.load()) fail({Errc::peer_lost, "the pool of this task is gone"}, lock);
      return refuse(lock);
    }
    // Nobody tells that there is room again; an answer may be long in coming.
    const bool blocked = !feed_.empty() && unanswered_ < open_.size() / 2;
    lock.unlock();
    ::poll(&news, 1, blocked ? 1 : -1);
  }
}

void InnerPool::read_answers(Lock& lock) {
  for (;;) {
    auto next = line_->next_result();
    if (!next) return fail(next.error(), lock);
    if (!*next) return;
    const WorkerAnswer answer = **std::move(next);
    Entry& place = open_[answer.number % open_.size()];
    const Entry entry = answer.is_item ? place : std::exchange(place, Entry{});
    if (entry.job == nullptr || entry.number != answer.number) continue;
    if (answer.is_item) {
      lock.unlock();
      entry.job->item(entry.index, answer.bytes, answer.descriptors);
      lock.lock();
      continue;
    }
    --unanswered_;
    // Callbacks of futures may run, and call this pool again.
    lock.unlock();
    if (answer.is_error) {
      entry.job->error(entry.index, decode_error(answer.bytes));
    } else {
      entry.job->value(entry.index, answer.bytes, answer.descriptors);
    }
    lock.lock();
    answered(lock, *entry.job);
  }
}

void InnerPool::answered(Lock& lock, PoolJob& job) {
  if (++job.answered_ < job.count()) return;
  lock.unlock();
  job.finished();
  lock.lock();
}

void InnerPool::refuse(Lock& lock) {
  while (!refusals_.empty()) {
    const Refusal refusal = std::move(refusals_.back());
    refusals_.pop_back();
    lock.unlock();
    refusal.job->error(refusal.index, refusal.why);
    lock.lock();
    answered(lock, *refusal.job);
  }
}

/// Nothing will be answered any more.
void InnerPool::fail(const Error& why, Lock&) {
  failure_ = why;
  for (Entry& entry : open_) {
    if (entry.job != nullptr) refusals_.push_back({entry.job, entry.index, why});
    entry = Entry{};
  }
  unanswered_ = 0;
  begun_ = false;
  for (PoolJob* const job : std::exchange(feed_, {})) {
    while (job->fed_ < job->count()) refusals_.push_back({job, job->fed_++, why});
  }
}

// --- waiting

void InnerPool::before_wait() noexcept {
  const Lock lock{mutex_};
  if (lent_ || (unanswered_ == 0 && feed_.empty())) return;
  lent_ = true;
  line_->tell_lent(true);
}

void InnerPool::after_wait() noexcept {
  const Lock lock{mutex_};
  if (std::exchange(lent_, false)) line_->tell_lent(false);
}

}  // namespace passel::inline v0::detail
