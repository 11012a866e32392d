// Layer pool: the results of imap and imap_unordered, one by one.
#pragma once

#include <passel/detail/executor_map.hpp>
#include <passel/detail/next_item.hpp>
#include <passel/detail/observed_wait.hpp>
#include <passel/detail/pool_jobs.hpp>
#include <passel/detail/result_iterator.hpp>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

namespace passel::inline v0 {

namespace detail {

/// How an imap goes about its input.
struct ResultPlan {
  std::size_t chunk = 1;   ///< items in one task
  std::size_t window = 0;  ///< items ahead of those that were taken; 0: by the pool's appetite
  ResultOrder order = ResultOrder::input;
};

/// Where the chunks of one imap meet whoever iterates.
template <class R>
class ResultStream {
 public:
  explicit ResultStream(ResultOrder order) : ordered_{order == ResultOrder::input} {}

  /// Nobody iterates any more.
  void abandon() noexcept { abandoned_.store(true, std::memory_order_relaxed); }
  [[nodiscard]] bool is_abandoned() const noexcept {
    return abandoned_.load(std::memory_order_relaxed);
  }

  void put(std::size_t chunk, std::vector<Result<R>> answers) {
    std::unique_lock lock{mutex_};
    if (ordered_) {
      early_.emplace(chunk, std::move(answers));
      for (auto next = early_.find(wanted_); next != early_.end(); next = early_.find(wanted_)) {
        append(std::move(next->second));
        early_.erase(next);
      }
    } else {
      append(std::move(answers));
    }
    if (ready_.empty()) return;
    if (auto asker = asker_.take()) {
      std::optional<Result<R>> result = take_first();
      lock.unlock();
      asker->set(next_item(std::move(result)));
    } else if (waiting_) {
      arrived_.notify_one();
    }
  }

  /// Somebody waits by ask.
  [[nodiscard]] bool is_asked() const {
    const std::lock_guard lock{mutex_};
    return asker_.waits();
  }
  /// The next answer for one who goes on.
  [[nodiscard]] Future<NextItem<R>> ask() {
    std::unique_lock lock{mutex_};
    if (ready_.empty()) return asker_.ask();
    std::optional<Result<R>> result = take_first();
    lock.unlock();
    return Future<NextItem<R>>::of(next_item(std::move(result)));
  }
  /// Nobody reads any more.
  void dismiss() {
    std::unique_lock lock{mutex_};
    auto asker = asker_.take();
    lock.unlock();
    if (asker) asker->set(Error{Errc::cancelled, "the results are gone"});
  }
  /// The chunks of answers that were asked for one by one, when the last of them is taken.
  [[nodiscard]] std::size_t returned() {
    const std::lock_guard lock{mutex_};
    return ready_.empty() ? std::exchange(chunks_, 0) : 0;
  }
  /// Takes the answers that are there; `returned` counts the chunks they stood for.
  bool take(std::deque<Result<R>>& into, std::size_t& returned, Deadline deadline) {
    std::unique_lock lock{mutex_};
    waiting_ = true;
    const bool found = observed_wait(lock, arrived_, deadline, [this] { return !ready_.empty(); });
    waiting_ = false;
    if (!found) return false;
    into.swap(ready_);
    returned = std::exchange(chunks_, 0);
    return true;
  }

 private:
  [[nodiscard]] std::optional<Result<R>> take_first() {
    std::optional<Result<R>> result{std::move(ready_.front())};
    ready_.pop_front();
    return result;
  }
  void append(std::vector<Result<R>> answers) {
    std::move(answers.begin(), answers.end(), std::back_inserter(ready_));
    ++wanted_;
    ++chunks_;
  }

  const bool ordered_;
  std::atomic<bool> abandoned_{false};
  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  bool waiting_ = false;
  NextAsker<R> asker_;
  std::deque<Result<R>> ready_;
  std::size_t chunks_ = 0;  // whose answers are in ready_
  std::size_t wanted_ = 0;  // ordered: number of the next chunk
  std::map<std::size_t, std::vector<Result<R>>> early_;
};

/// Some chunks of an imap.
template <class R>
class StreamJob final : public PoolJob {
 public:
  StreamJob(TaskId task, std::string (*namer)(), ChunkedArguments args, std::size_t first_chunk,
            std::shared_ptr<ResultStream<R>> stream)
      : PoolJob{task},
        name_{namer},
        args_{std::move(args)},
        first_chunk_{first_chunk},
        stream_{std::move(stream)} {}

  [[nodiscard]] std::size_t count() const noexcept override { return args_.chunks(); }
  [[nodiscard]] std::string name() const override { return name_(); }
  [[nodiscard]] Payload payload(std::size_t chunk) noexcept override {
    return args_.payload(chunk);
  }
  /// Nobody iterates any more: what has not started need not.
  [[nodiscard]] bool begin(std::size_t) noexcept override { return !stream_->is_abandoned(); }
  void value(std::size_t chunk, std::span<const std::byte> bytes,
             DescriptorSpan descriptors) noexcept override {
    ChunkReader in{bytes, descriptors};
    std::vector<Result<R>> answers;
    for (std::size_t item = args_.first(chunk); item < args_.first(chunk + 1); ++item) {
      answers.push_back(read_answer<R>(in));
    }
    stream_->put(first_chunk_ + chunk, std::move(answers));
  }
  [[nodiscard]] bool has_failed(std::size_t chunk, std::span<const std::byte> bytes,
                                DescriptorSpan descriptors) noexcept override {
    ChunkReader in{bytes, descriptors};
    for (std::size_t item = args_.first(chunk); item < args_.first(chunk + 1); ++item) {
      if (read_answer<R>(in).is_err()) return true;
    }
    return false;
  }
  void error(std::size_t chunk, const Error& error) noexcept override {
    stream_->put(first_chunk_ + chunk,
                 std::vector<Result<R>>(args_.first(chunk + 1) - args_.first(chunk), error));
  }
  void finished() noexcept override { delete this; }

 private:
  std::string (*name_)();
  ChunkedArguments args_;
  std::size_t first_chunk_;
  std::shared_ptr<ResultStream<R>> stream_;
};

}  // namespace detail

/// The results of `Pool::imap` (in the order of the input) or `Pool::imap_unordered` (as they
/// come), each a Result of its own: a task that failed does not end the others. The input is read
/// as results are taken, a bounded number of items ahead: MapOptions::window, or twice the number
/// of workers at first and more while tasks prove to be short. Dropping it lets what runs finish
/// unseen and forgets the rest.
///
///     for (passel::Result<int>& page : pool.imap_unordered<fetch>(urls).unwrap()) {
///       if (page) use(*page); else log(page.error());
///     }
///
/// Move-only, one thread at a time. Iterating waits for the next result; the input is read on the
/// iterating thread. A worker's death is the error of the item it was running (worker_lost); a pool
/// that is terminated or fails answers the rest with errors, so that iterating always ends.
/// Python's IMapIterator.
template <class R>
class PoolResults {
 public:
  // Writes the next item, or returns false when there is none.
  using Source = std::function<Result<bool>(detail::ChunkedArguments& out)>;

  PoolResults(std::shared_ptr<detail::PoolHandle> pool, detail::TaskId task, std::string (*namer)(),
              Source source, detail::ResultPlan plan, detail::PoolTerms terms)
      : pool_{std::move(pool)},
        task_{task},
        name_{namer},
        source_{std::move(source)},
        plan_{plan},
        terms_{std::move(terms)},
        stream_{std::make_shared<detail::ResultStream<R>>(plan.order)} {}
  PoolResults(PoolResults&&) noexcept = default;
  PoolResults& operator=(PoolResults&& other) noexcept {
    std::swap(stream_, other.stream_);
    std::swap(pool_, other.pool_);
    std::swap(task_, other.task_);
    std::swap(name_, other.name_);
    std::swap(source_, other.source_);
    std::swap(plan_, other.plan_);
    std::swap(terms_, other.terms_);
    std::swap(ready_, other.ready_);
    std::swap(current_, other.current_);
    std::swap(source_error_, other.source_error_);
    std::swap(sent_, other.sent_);
    std::swap(out_, other.out_);
    return *this;
  }
  ~PoolResults() {
    if (!stream_) return;
    stream_->abandon();
    stream_->dismiss();
  }

  /// The next result; empty when all have been taken.
  [[nodiscard]] std::optional<Result<R>> next() { return take(detail::Deadline::never()); }
  /// The same, waiting at most `wait`; then the result is Errc::timeout, and the iteration can go
  /// on (Python's `next(timeout)`).
  template <class Rep, class Period>
  [[nodiscard]] std::optional<Result<R>> next_for(std::chrono::duration<Rep, Period> wait) {
    return take(detail::Deadline::after(wait));
  }
  /// The same without waiting; Errc::timeout is then the result that is not there yet.
  [[nodiscard]] std::optional<Result<R>> try_next() {
    return take(detail::Deadline::now_or_never());
  }

  /// The next result as a future: nothing at the end, the error of a task as its error. Until it is
  /// done, next and a second next_async are invalid_state. One that is cancelled or dropped before
  /// leaves the result to the next call; cancelled when this object goes. It reads the input, and
  /// its callbacks run where those of the pool do.
  [[nodiscard]] Future<detail::NextItem<R>> next_async() {
    using Next = Future<detail::NextItem<R>>;
    if (!ready_.empty()) return Next::of(detail::next_item(take_ready()));
    if (stream_->is_asked()) return Next::of(detail::NextAsker<R>::is_waiting());
    collect();
    if (out_ != 0) return stream_->ask();
    return Next::of(detail::next_item(std::exchange(source_error_, std::nullopt)));
  }

  using Iterator = detail::ResultIterator<PoolResults, Result<R>>;
  /// Waits for the first result. Can be called once.
  [[nodiscard]] Iterator begin() { return Iterator{this}; }
  [[nodiscard]] Iterator end() noexcept { return {}; }

 private:
  friend Iterator;
  std::optional<Result<R>> take(detail::Deadline deadline) {
    if (ready_.empty()) {
      if (stream_->is_asked()) return Result<R>{detail::NextAsker<R>::is_waiting()};
      collect();
      if (out_ == 0) return std::exchange(source_error_, std::nullopt);
      std::size_t returned = 0;
      if (!stream_->take(ready_, returned, deadline)) {
        return Result<R>{Error{Errc::timeout, "no further result of " + name_() + " in time"}};
      }
      out_ -= returned;
      refill();
    }
    return take_ready();
  }
  [[nodiscard]] std::optional<Result<R>> take_ready() {
    std::optional<Result<R>> result{std::move(ready_.front())};
    ready_.pop_front();
    if (plan_.window != 0) refill();
    return result;
  }
  /// Before anything is waited for.
  void collect() {
    out_ -= stream_->returned();
    refill();
  }

  /// How many chunks may be sent now.
  [[nodiscard]] std::size_t room() const {
    if (plan_.window == 0) {
      // When half of what may be out has come back.
      const std::size_t most = pool_->appetite();
      return out_ > most / 2 ? 0 : most - out_;
    }
    const std::size_t most = std::max<std::size_t>(plan_.window / plan_.chunk, 1);
    const std::size_t used = out_ + (ready_.size() + plan_.chunk - 1) / plan_.chunk;
    return used < most ? most - used : 0;
  }
  void refill() {
    const std::size_t most = room();
    if (!source_ || most == 0) return;
    if (const auto refusal = pool_->refusal()) {
      source_ = nullptr;
      source_error_ = Result<R>{*refusal};
      return;
    }
    detail::ChunkedArguments args{plan_.chunk};
    while (args.chunks() < most && source_) {
      const Result<bool> more = source_(args);
      if (!more) source_error_ = Result<R>{more.error()};
      if (!more || !*more) source_ = nullptr;
    }
    args.end();
    if (args.chunks() == 0) return;
    const std::size_t first = std::exchange(sent_, sent_ + args.chunks());
    out_ += args.chunks();
    auto job =
        std::make_unique<detail::StreamJob<R>>(task_, name_, std::move(args), first, stream_);
    job->set_terms(std::make_unique<detail::PoolTerms>(terms_));
    pool_->submit(std::move(job));
  }

  std::shared_ptr<detail::PoolHandle> pool_;
  detail::TaskId task_;
  std::string (*name_)();
  Source source_;
  detail::ResultPlan plan_;
  detail::PoolTerms terms_;
  std::shared_ptr<detail::ResultStream<R>> stream_;
  std::deque<Result<R>> ready_;
  std::optional<Result<R>> current_;
  std::optional<Result<R>> source_error_;
  std::size_t sent_ = 0;  // chunks
  std::size_t out_ = 0;   // chunks whose answers have not been taken
};

}  // namespace passel::inline v0
