// Layer pool: the jobs behind submit and map.
#pragma once

#include <passel/detail/pool_chunk.hpp>
#include <passel/detail/pool_job.hpp>
#include <passel/detail/task_name.hpp>
#include <passel/future.hpp>

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace passel::inline v0::detail {

/// A buffer for a large message that another one has left, or an empty one: memory that is new to
/// the process costs more than what is written to it.
[[nodiscard]] PASSEL_API std::vector<std::byte> take_spare_bytes() noexcept;
PASSEL_API void give_spare_bytes(std::vector<std::byte> bytes) noexcept;

/// The encoded arguments of one call. Small ones, and that is most, lie in the object itself: a
/// hundred thousand waiting tasks should be a hundred thousand blocks of memory and not twice as
/// many.
class CallArguments {
 public:
  explicit CallArguments(Encoded& encoded) : size_{encoded.bytes.size()} {
    if (size_ <= sizeof small_ && encoded.descriptors.empty() && encoded.objects.empty()) {
      if (size_ != 0) std::memcpy(small_, encoded.bytes.data(), size_);
    } else {
      large_ = std::make_unique<Encoded>(std::move(encoded));
    }
  }
  /// When they are not needed any more.
  void clear() noexcept {
    if (large_) give_spare_bytes(std::move(large_->bytes));
    large_.reset();
  }
  [[nodiscard]] PoolJob::Payload payload() const noexcept {
    if (!large_) return {.args = {small_, size_}};
    return {.args = large_->bytes, .descriptors = large_->descriptors, .objects = large_->objects};
  }

 private:
  std::size_t size_;
  std::unique_ptr<Encoded> large_;
  std::byte small_[48];
};

/// A user's codec may wait for somebody whose own answer has not woken him yet.
template <class R>
void before_decoding() noexcept {
  if constexpr (!std::is_void_v<R>) {
    if constexpr (!is_raw<R>) WakeBatch::flush();
  }
}

/// Takes anything and does nothing.
struct NoCallback {
  template <class... A>
  void operator()(A&&...) const noexcept {}
};

/// One task whose answer is a Future: the job and what its future shares with it in one block of
/// memory. `Notice` is called with the answer before that is ready.
template <class R, class Notice = NoCallback>
class SubmitJob final : public FutureState<R>, public PoolJob {
 public:
  SubmitJob(TaskId task, std::string (*namer)(), Encoded& args, std::uint64_t pool, Notice notice)
      : PoolJob{task}, name_{namer}, args_{args}, pool_{pool}, notice_{std::move(notice)} {}

  /// Once, before the job is handed over.
  [[nodiscard]] Future<R> future() noexcept {
    this->add_ref();
    return FutureAccess::adopt<R>(this);
  }

  [[nodiscard]] std::size_t count() const noexcept override { return 1; }
  [[nodiscard]] std::string name() const override { return name_(); }
  [[nodiscard]] Payload payload(std::size_t) noexcept override {
    Payload payload = args_.payload();
    payload.tail = tail_;
    return payload;
  }
  /// The rest of the arguments, which lies with the caller until this is answered.
  void refer_to(std::span<const std::byte> tail) noexcept { tail_ = tail; }
  [[nodiscard]] bool begin(std::size_t) noexcept override { return this->set_running(); }
  void value(std::size_t, std::span<const std::byte> bytes,
             DescriptorSpan descriptors) noexcept override {
    before_decoding<R>();
    ChunkReader in{bytes, descriptors};
    settle(read_answer<R>(in));
  }
  void error(std::size_t, const Error& error) noexcept override { settle(Result<R>{error}); }
  [[nodiscard]] bool has_failed(std::size_t, std::span<const std::byte> bytes,
                                DescriptorSpan descriptors) noexcept override {
    before_decoding<R>();
    ChunkReader in{bytes, descriptors};
    return read_answer<R>(in).is_err();
  }
  /// The future may live on for long: what only the task needs goes now.
  void finished() noexcept override {
    args_.clear();
    notice_.reset();
    this->release();
  }

 private:
  ~SubmitJob() override = default;

  [[nodiscard]] std::string work() const override { return PoolJob::work(); }

  void stop_wished() noexcept override { PoolHandle::stop_in(pool_, this, serial()); }
  [[nodiscard]] bool may_be_fetched() const noexcept override {
    return std::is_same_v<Notice, NoCallback> && !this->has_callbacks();
  }
  void fetch(Deadline deadline) noexcept override {
    if (may_be_fetched()) fetch_from(pool_, *this, deadline);
  }
  void wake_fetcher() noexcept override { wake_fetcher_of_job(); }
  void settle(Result<R>&& result) noexcept {
    if constexpr (!std::is_same_v<Notice, NoCallback>) {
      WakeBatch::flush();
      if (this->phase() != FutureCore::cancelled) (*notice_)(std::as_const(result));
    }
    leave_place();
    if (!this->begin_set()) return;
    this->emplace(std::move(result));
    this->finish_set();
  }

  struct NoNotice {
    explicit NoNotice(NoCallback) {}
    void reset() noexcept {}
  };

  std::string (*name_)();
  CallArguments args_;
  std::span<const std::byte> tail_{};
  const std::uint64_t pool_;
  [[no_unique_address]] std::conditional_t<std::is_same_v<Notice, NoCallback>, NoNotice,
                                           std::optional<Notice>>
      notice_;
};

/// Where the calling thread encodes arguments; small ones never need memory of their own. Taken
/// while it is in use, because a user's codec may submit tasks too.
class EncodingScratch {
 public:
  EncodingScratch() : encoded{std::move(kept())} {
    if (encoded.bytes.capacity() == 0) encoded.bytes = take_spare_bytes();
    encoded.bytes.clear();
    encoded.descriptors.clear();
    encoded.objects.clear();
  }
  EncodingScratch(const EncodingScratch&) = delete;
  EncodingScratch& operator=(const EncodingScratch&) = delete;
  ~EncodingScratch() {
    constexpr std::size_t most = std::size_t{64} << 10;
    if (!encoded.descriptors.empty()) return;
    if (encoded.bytes.capacity() > most) {
      give_spare_bytes(std::move(encoded.bytes));
    } else {
      kept() = std::move(encoded);
    }
  }

  Encoded encoded;

 private:
  static Encoded& kept() {
    static thread_local Encoded slot;
    return slot;
  }
};

/// The argument lists of a map, cut into chunks: one block of bytes, however many there are.
class ChunkedArguments {
 public:
  explicit ChunkedArguments(std::size_t chunk_size) : chunk_size_{chunk_size} {}

  template <class Stored, class... A>
  [[nodiscard]] Result<void> add(A&&... args) {
    ChunkWriter writer{all_};
    const Cut before{all_.bytes.size(), all_.descriptors.size()};
    if (const auto done = ArgumentList<Stored>::write(writer, std::forward<A>(args)...); !done) {
      all_.bytes.resize(before.bytes);
      all_.descriptors.resize(before.descriptors);
      return done.error();
    }
    if (++items_ % chunk_size_ == 0) cut();
    return {};
  }
  /// So many items will come, of which the first has been added: large ones should not be moved
  /// about as more of them come.
  void expect(std::size_t items) {
    constexpr std::size_t least = std::size_t{4} << 10;
    constexpr std::size_t most = std::size_t{256} << 20;
    const std::size_t each = all_.bytes.size();
    if (each < least || items > most / each) return;
    all_.bytes.reserve(each * items + each / 8);
  }
  /// No more items follow.
  void end() {
    if (items_ % chunk_size_ != 0) cut();
  }

  /// After end, for chunks of one item: makes them chunks of `size`.
  void regroup(std::size_t size) {
    std::vector<Cut> cuts;
    for (std::size_t item = size - 1; item < cuts_.size(); item += size)
      cuts.push_back(cuts_[item]);
    if (cuts_.size() % size != 0) cuts.push_back(cuts_.back());
    cuts_ = std::move(cuts);
    chunk_size_ = size;
  }

  [[nodiscard]] std::size_t items() const noexcept { return items_; }
  [[nodiscard]] std::size_t chunks() const noexcept { return cuts_.size(); }
  /// First item of a chunk, and of the one behind it.
  [[nodiscard]] std::size_t first(std::size_t chunk) const noexcept {
    return std::min(chunk * chunk_size_, items_);
  }

  [[nodiscard]] PoolJob::Payload payload(std::size_t chunk) const noexcept {
    const Cut from = chunk == 0 ? Cut{} : cuts_[chunk - 1];
    const Cut to = cuts_[chunk];
    return {.args = std::span{all_.bytes}.subspan(from.bytes, to.bytes - from.bytes),
            .descriptors = std::span{all_.descriptors}.subspan(from.descriptors,
                                                               to.descriptors - from.descriptors),
            .objects = all_.objects};
  }

 private:
  struct Cut {
    std::size_t bytes = 0;
    std::size_t descriptors = 0;
  };
  void cut() { cuts_.push_back({all_.bytes.size(), all_.descriptors.size()}); }

  std::size_t chunk_size_;
  std::size_t items_ = 0;
  Encoded all_;
  std::vector<Cut> cuts_;
};

template <class R>
struct MapResult {
  using type = std::vector<R>;
};
template <>
struct MapResult<void> {
  using type = void;
};

/// All tasks of one map; the answer comes when the last one is there: all results in the order of
/// the input, or the error of the first item that has one.
template <class R, class Notice = NoCallback>
class MapJob final : public PoolJob {
 public:
  using Answer = typename MapResult<R>::type;
  /// Called for each item with how many are done and how many there are.
  using Progress = std::function<void(std::size_t done, std::size_t total)>;

  MapJob(TaskId task, std::string (*namer)(), ChunkedArguments args, Notice notice = {})
      : PoolJob{task}, name_{namer}, args_{std::move(args)}, notice_{std::move(notice)} {
    if constexpr (!std::is_void_v<R>) results_.resize(args_.items());
  }

  [[nodiscard]] Future<Answer> future() { return promise_.future(); }
  /// Once, when its terms are set.
  void describe() { promise_.describe(work()); }
  void set_progress(Progress progress) { progress_ = std::move(progress); }
  template <class Hook>
  void on_stop(Hook hook) {
    promise_.on_stop(std::move(hook));
  }

  [[nodiscard]] std::size_t count() const noexcept override { return args_.chunks(); }
  [[nodiscard]] std::string name() const override { return name_(); }
  [[nodiscard]] Payload payload(std::size_t chunk) noexcept override {
    return args_.payload(chunk);
  }
  [[nodiscard]] bool begin(std::size_t) noexcept override {
    if (!started_) {
      started_ = true;
      wanted_ = promise_.set_running_or_notify_cancel();
    }
    return wanted_;
  }
  void value(std::size_t chunk, std::span<const std::byte> bytes,
             DescriptorSpan descriptors) noexcept override {
    before_decoding<R>();
    ChunkReader in{bytes, descriptors};
    const std::size_t end = args_.first(chunk + 1);
    for (std::size_t item = args_.first(chunk); item < end; ++item) {
      Result<R> answer = read_answer<R>(in);
      if (answer.is_err()) {
        note(item, answer.error());
      } else if constexpr (!std::is_void_v<R>) {
        results_[item] = *std::move(answer);
      }
    }
    advance(chunk);
  }
  void error(std::size_t chunk, const Error& error) noexcept override {
    note(args_.first(chunk), error);
    advance(chunk);
  }
  [[nodiscard]] bool has_failed(std::size_t chunk, std::span<const std::byte> bytes,
                                DescriptorSpan descriptors) noexcept override {
    ChunkReader in{bytes, descriptors};
    for (std::size_t item = args_.first(chunk); item < args_.first(chunk + 1); ++item) {
      if (read_answer<R>(in).is_err()) return true;
    }
    return false;
  }
  void finished() noexcept override {
    Result<Answer> all = answer();
    if constexpr (!std::is_same_v<Notice, NoCallback>) {
      WakeBatch::flush();
      if (!promise_.cancelled()) notice_(std::as_const(all));
    }
    leave_place();
    promise_.set(std::move(all));
    delete this;
  }

 private:
  // A vector<bool> is fine here: one thread at a time writes it.
  static constexpr bool direct = std::is_void_v<R> || std::is_default_constructible_v<R>;
  using Slot =
      std::conditional_t<std::is_void_v<R>, char, std::conditional_t<direct, R, std::optional<R>>>;

  void advance(std::size_t chunk) noexcept {
    if (!progress_) return;
    WakeBatch::flush();
    try {
      for (std::size_t item = args_.first(chunk); item < args_.first(chunk + 1); ++item)
        progress_(++done_, args_.items());
    } catch (...) {
      report_background_error(current_exception_error());
    }
  }
  void note(std::size_t item, const Error& error) noexcept {
    if (error_ && error_item_ <= item) return;
    error_ = error;
    error_item_ = item;
  }
  [[nodiscard]] Result<Answer> answer() {
    if (error_) return *error_;
    if constexpr (std::is_void_v<R>) {
      return {};
    } else if constexpr (direct) {
      return std::move(results_);
    } else {
      std::vector<R> all;
      all.reserve(results_.size());
      for (auto& result : results_) all.push_back(*std::move(result));
      return all;
    }
  }

  std::string (*name_)();
  ChunkedArguments args_;
  Promise<Answer> promise_;
  [[no_unique_address]] Notice notice_;
  Progress progress_;
  std::size_t done_ = 0;
  std::vector<Slot> results_;
  std::optional<Error> error_;
  std::size_t error_item_ = 0;
  bool started_ = false;
  bool wanted_ = true;
};

}  // namespace passel::inline v0::detail

namespace passel::inline v0 {

template <class... A>
Result<std::vector<std::tuple<A...>>> DeadLetter::arguments() const {
  std::vector<std::tuple<A...>> all;
  detail::ChunkReader in{payload, descriptors};
  while (!in.at_end()) {
    PASSEL_TRY(auto one, detail::ArgumentList<std::tuple<A...>>::read(in));
    all.push_back(std::move(one));
  }
  return all;
}

}  // namespace passel::inline v0
