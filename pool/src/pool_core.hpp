// Layer pool: the pool's actor, which carries out what the ledger decides.
#pragma once

#include "inner_line.hpp"
#include "last_lines.hpp"
#include "ledger.hpp"
#include "memory_watch.hpp"
#include "worker_channel.hpp"

#include <passel/detail/call_places.hpp>
#include <passel/detail/cell.hpp>
#include <passel/detail/child.hpp>
#include <passel/detail/io_loop.hpp>
#include <passel/detail/pool_job.hpp>
#include <passel/future.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace passel::inline v0::detail {

/// What the actor and the user's threads both look at.
struct PoolHandle::Shared {
  enum State : std::uint32_t { open, closing, terminated, failed };

  explicit Shared(const PoolConfig& config)
      : processes{config.processes}, max_message{config.max_message}, places{config.max_pending} {}

  std::atomic<unsigned> processes;
  const std::uint64_t max_message;
  CallPlaces places;
  std::atomic<std::uint32_t> state{open};
  std::atomic<std::uint32_t> gone{0};  ///< 1 when all workers are gone for good: a futex
  std::atomic<std::size_t> appetite{0};
  mutable std::mutex mutex;
  std::optional<Error> failure;  ///< guarded by mutex

  void fail(const Error& why);
  [[nodiscard]] Error refusal() const;
};

/// The body of the pool's cell. All members run one at a time in the cell.
class PoolCore final : public CellBody {
 public:
  PoolCore(PoolConfig config, std::shared_ptr<PoolHandle::Shared> shared, IoLoop& io);
  ~PoolCore() override;

  /// Starts the workers; `started` is told when all processes are there, or why one could not be
  /// started.
  void start(Cell& self, Promise<void> started);
  void resize(unsigned processes);
  void close();
  void terminate();
  /// terminate for a pool that is let go of, with a word about the work that this costs.
  void drop();
  [[nodiscard]] PoolStats stats() const;

  /// What a job does when it arrives as a message.
  static void accept(Op* op, Cell* cell) noexcept;
  /// Answers all that a job has not been given an answer for.
  static void refuse(PoolJob& job, const Error& why) noexcept;
  /// Cancels what of the job waits and stops what runs, if the job is still there.
  void stop_job(const PoolJob* job, std::uint64_t serial);
  /// See PoolHandle::fetch.
  [[nodiscard]] std::optional<std::uint64_t> fetch(PoolJob& job, PoolHandle::FetchStep step);
  /// Of the items that the streaming job has sent so many have been taken.
  void tell_taken(std::uint64_t serial, std::uint32_t items);
  [[nodiscard]] std::vector<DeadLetter> dead_letters() const {
    return {dead_letters_.begin(), dead_letters_.end()};
  }

 private:
  class InnerJob;
  struct InnerAnswer {
    std::uint64_t number = 0;
    std::vector<std::byte> bytes{};
    ChannelLayout::Kind kind = ChannelLayout::value;
    std::vector<std::shared_ptr<Descriptor>> descriptors{};
  };
  /// One place for a worker and who is in it.
  struct Link {
    std::uint64_t life = 0;  ///< counts the workers of this pool; 0: nobody
    std::string name;
    unsigned index = 0;  ///< the lowest that no other worker had that takes tasks
    bool leaves = false;
    std::unique_ptr<PoolEnd> end;
    std::shared_ptr<Child> child;
    IoLoop::Watch watch;
    std::unique_ptr<WorkerEnd> inner;  ///< what its task asks of this pool
    IoLoop::Watch inner_watch;
    std::deque<InnerAnswer> inner_answers;  ///< that found no room yet
    std::shared_ptr<LastLines> last_lines;
    IoLoop::Watch last_lines_watch;
    std::deque<TaskSlot> unposted;  ///< sent by the ledger, not yet in the channel
    std::array<TaskSlot, ChannelLayout::cells> by_number;  ///< task in the channel, or `nobody`
    std::vector<std::shared_ptr<SharedObject>> objects;    ///< of arguments it was given
    std::optional<Error> complaint;                        ///< what its initializer said
    std::uint64_t done = 0;
    Ledger::Duration busy{0};  ///< in tasks it has answered
    Ledger::Time ready_at{};
    unsigned bells = 0;
    std::uint64_t warned_of = 0;      ///< number of the task that ran too long, 0 for none
    std::uint64_t asked_to_stop = 0;  ///< number of the task, 0 for none
    std::optional<LossCause> cause;   ///< why this pool ended it
    int signal = 0;                   ///< sent last, or to be sent when the process is there
    bool ready = false;
    bool broken = false;
    bool calls = false;                ///< its task waits for its calls
    bool waits = false;                ///< its task waits for its reader
    bool touched = false;              ///< has news since the last flush
    const PoolJob* fetcher = nullptr;  ///< its only task, whose answer the waiting thread reads
    bool resigned = false;             ///< that thread has stopped reading since the last flush
  };
  struct Record {
    PoolJob* job = nullptr;
    std::size_t index = 0;
    WorkerSlot worker = 0;
    std::uint64_t number = 0;  ///< in the worker's channel, 0 when not posted
    unsigned attempt = 0;
    bool begun = false;
    bool has_items = false;          ///< some have arrived: the task cannot be tried again
    std::unique_ptr<Error> failure;  ///< why it could not even be sent
  };
  /// What the ledger's answer to an event is about.
  struct Context {
    const WorkerAnswer* result = nullptr;
    const WorkerLost* death = nullptr;  ///< of the worker that is gone
  };
  static constexpr TaskSlot nobody = 0xFFFF'FFFF;
  static constexpr TaskSlot orphan = 0xFFFF'FFFE;  ///< settled while it ran on
  static bool is_task(TaskSlot entry) noexcept { return entry < orphan; }

  /// Jobs of one rank in order of arrival.
  struct FeedLine {
    std::int64_t rank = 0;
    PoolJob* head = nullptr;
    PoolJob* tail = nullptr;
  };
  struct Feed {
    std::vector<FeedLine> lines;  ///< the highest rank first
    std::size_t jobs = 0;
    std::set<std::pair<Ledger::Time, PoolJob*>> deadlines;

    [[nodiscard]] bool empty() const noexcept { return jobs == 0; }
    FeedLine& line(std::int64_t rank);
    void forget_empty_lines();
  };

  void add(PoolJob& job);
  void append(PoolJob& job);
  void unlink(PoolJob& job);
  void feed();
  void feed_one(PoolJob& job);
  void refuse_late();
  static std::int64_t rank_of(const PoolTerms& terms) noexcept {
    return std::int64_t{terms.priority} * 65'536 + std::min(terms.depth, 65'535U);
  }
  void step(const Ledger::Event& event);
  void step_with(const Ledger::Event& event, const Context& context);
  void obey(const Ledger::Action& action);
  void fail();
  void finish();

  void send(WorkerSlot worker, TaskSlot task, unsigned attempt);
  void post_waiting(WorkerSlot worker);
  void try_again_soon();
  void try_again();
  static void forget_objects(Link& link);
  void take_back_objects(Link& link, std::optional<TaskSlot> running);
  [[nodiscard]] bool post(WorkerSlot worker, TaskSlot task);
  void take_back(WorkerSlot worker, TaskSlot task);
  void ask_stop(WorkerSlot worker, TaskSlot task);
  void condemn(WorkerSlot worker);
  void settle(TaskSlot task, Settled how);
  [[nodiscard]] Error lost(const Record& record, const PoolJob& job) const;
  [[nodiscard]] static Error too_late(const PoolJob& job);
  void bury(PoolJob& job, const Record& record, const Error& why);
  [[nodiscard]] Error reason(const Record& record, Settled how, const PoolJob& job) const;
  void answered(PoolJob& job) noexcept;
  void refuse_feed(const Error& why) noexcept;
  [[nodiscard]] std::size_t queued() const noexcept;
  [[nodiscard]] CellRef self_ref() noexcept;

  void spawn(WorkerSlot worker);
  Result<void> prepare(WorkerSlot worker);
  [[nodiscard]] unsigned free_index() const;
  [[nodiscard]] WorkerStart start_of(const Link& link) const;
  void spawned(WorkerSlot worker, std::uint64_t life, Result<std::shared_ptr<Child>> child);
  /// `tell(f)` has the actor call `f(core, worker, life)`, from any thread.
  [[nodiscard]] auto teller(WorkerSlot worker, std::uint64_t life) {
    return [ref = self_ref(), worker, life](auto what) {
      if (!ref) return;
      ref->post_or_cancel(make_op([what = std::move(what), worker, life](Cell* cell) {
        if (cell != nullptr) what(cell->body<PoolCore>(), worker, life);
      }));
    };
  }
  void open_inner(WorkerSlot worker, const WorkerAnswer& offer);
  void inner_news(WorkerSlot worker, std::uint64_t life);
  void take_inner(WorkerSlot worker, const WorkerEnd::Task& message);
  void call_inner(WorkerSlot worker, const InnerMessage& message, const WorkerEnd::Task& task);
  void answer_inner(WorkerSlot worker, std::uint64_t life, InnerAnswer answer);
  void give_inner_answers(Link& link);
  [[nodiscard]] bool pass_on_taken(Link& link);
  [[nodiscard]] unsigned depth_of(WorkerSlot worker);
  Result<void> keep_last_lines(Link& link, ProcessSpec& spec, WorkerStart& start);
  [[nodiscard]] WorkerLost describe_end(Link& link, ExitStatus status);
  void weigh_workers();
  void warn_of_long_tasks();
  [[nodiscard]] std::optional<Ledger::Time> warning_due() const;
  void signal(WorkerSlot worker, int number);
  void news(WorkerSlot worker, std::uint64_t life);
  void drain(WorkerSlot worker, const PoolJob* fetcher = nullptr);
  [[nodiscard]] bool grant_fetch(PoolJob& job);
  void end_fetch(const Record& record);
  void lend_or_regain(WorkerSlot worker);
  void read_results(WorkerSlot worker, const PoolJob* fetcher = nullptr);
  void take_item(WorkerSlot worker, const WorkerAnswer& item);
  void gone(WorkerSlot worker, std::uint64_t life, ExitStatus status);
  void tick();
  [[nodiscard]] std::optional<Ledger::Time> next_due() const;
  void arm_timer();
  [[nodiscard]] static bool wants_retry(const Record& record, const WorkerAnswer& answer);
  void lose_started(Link& link, WorkerSlot worker);

  PoolConfig config_;
  std::shared_ptr<PoolHandle::Shared> shared_;
  IoLoop& io_;
  Cell* self_ = nullptr;
  Ledger ledger_;
  Ledger::Time now_{};
  std::vector<std::unique_ptr<Link>> links_;
  std::vector<Record> records_;
  std::vector<TaskSlot> free_records_;
  Feed feed_;
  std::map<std::uint64_t, TaskSlot> streams_;  // tasks that stream, by their jobs' numbers
  std::deque<DeadLetter> dead_letters_;
  std::size_t dead_bytes_ = 0;
  Ledger::Actions actions_;
  bool obeying_ = false;
  bool changed_ = false;  // since the last finish: workers may have to be told, the timer moved
  Context context_;
  bool closing_ = false;
  bool closing_told_ = false;
  std::uint64_t lives_ = 0;
  std::uint64_t done_ = 0;
  std::optional<Promise<void>> first_start_;
  unsigned starting_ = 0;  // of the first ones, those whose start is not known
  bool one_started_ = false;
  std::optional<Error> spawn_error_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, InnerJob*> inner_jobs_;  // by life and number
  std::string last_death_;
  std::uint64_t memory_kills_ = memory_kills();
  Ledger::Time weigh_at_{};
  Ledger::Time retry_at_ = Ledger::Time::max();  // of what found the kernel short of something
  std::optional<IoLoop::TimerKey> timer_;
  Ledger::Time timer_at_{};
};

/// The task that a worker process runs: it takes tasks from its channel until it is let go.
[[nodiscard]] TaskId pool_worker_task();

}  // namespace passel::inline v0::detail
