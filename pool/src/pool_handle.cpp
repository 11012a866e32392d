// Layer pool: the pool as user threads see it.
#include "pool_core.hpp"

#include <passel/detail/futex.hpp>
#include <passel/detail/shared_object.hpp>
#include <passel/detail/spin.hpp>

#include <limits>
#include <map>
#include <mutex>

namespace passel::inline v0::detail {

/// The pool's actor, seen from user threads. Destroying it terminates the workers and waits for
/// their end. User threads run their own operations only: others may call user code, for which they
/// may hold a lock.
class ActorPool final : public PoolHandle {
 public:
  ActorPool(CellRef cell, std::shared_ptr<Shared> shared)
      : cell_{std::move(cell)}, shared_{std::move(shared)}, generation_{fork_generation()} {}
  ~ActorPool() override {
    end();
    // The cell of the owner's engine cannot be touched in a fork of the owner, not even to let it
    // go.
    if (generation_ != fork_generation()) static_cast<void>(new CellRef{std::move(cell_)});
  }

  [[nodiscard]] Result<std::shared_ptr<void>> admit(Deadline deadline) override;
  void submit(std::unique_ptr<PoolJob> job) override;
  [[nodiscard]] std::optional<Error> refusal() const override;
  [[nodiscard]] Result<void> resize(unsigned processes) override;
  void close() override;
  void terminate() override;
  void end() override;
  [[nodiscard]] Result<void> join(Deadline deadline) override;
  [[nodiscard]] PoolShutdown shutdown(Deadline deadline) override;
  [[nodiscard]] PoolStats stats() const override;
  [[nodiscard]] std::vector<DeadLetter> dead_letters() const override;
  void stop(const PoolJob* job, std::uint64_t serial) override;
  void tell_taken(const PoolJob* job, std::uint64_t serial, std::uint32_t items) override;
  [[nodiscard]] std::optional<std::uint64_t> fetch(PoolJob& job, FetchStep step) override;
  [[nodiscard]] unsigned processes() const noexcept override {
    return shared_->processes.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t max_message() const noexcept override { return shared_->max_message; }
  [[nodiscard]] std::size_t appetite() const noexcept override {
    return shared_->appetite.load(std::memory_order_relaxed);
  }

 private:
  /// In a callback: of this pool, or on the thread that learns of the ends of its workers.
  [[nodiscard]] bool waits_for_itself() const noexcept {
    return cell_->runs_here() || on_io_thread();
  }
  /// False when the pool had been given up before.
  [[nodiscard]] bool give_up();
  template <class F>
  [[nodiscard]] static Op* op_of(F function) {
    return make_op([function = std::move(function)](Cell* cell) {
      if (cell != nullptr) function(cell->body<PoolCore>());
    });
  }
  template <class F>
  void tell(F function) const {
    Op* const op = op_of(std::move(function));
    if (!cell_->post_alone(op)) op->run(op, nullptr);
  }

  CellRef cell_;
  std::shared_ptr<Shared> shared_;
  std::uint32_t generation_;
};

namespace {

/// The pools of this process by number.
struct PoolRoll {
  std::mutex mutex;
  std::uint64_t last = 0;
  std::map<std::uint64_t, PoolHandle*> pools;
};
PoolRoll& pool_roll() {
  // Not destroyed at exit: a future may be asked to stop by a static object's destructor.
  static auto* const roll = new PoolRoll;
  return *roll;
}

/// Empty when its last owner has just gone.
std::shared_ptr<PoolHandle> find_pool(std::uint64_t number) {
  PoolRoll& roll = pool_roll();
  const std::lock_guard lock{roll.mutex};
  const auto found = roll.pools.find(number);
  if (found == roll.pools.end()) return {};
  return std::static_pointer_cast<PoolHandle>(found->second->weak_from_this().lock());
}

}  // namespace

PoolHandle::PoolHandle()
    : number_{[this] {
        PoolRoll& roll = pool_roll();
        const std::lock_guard lock{roll.mutex};
        roll.pools.emplace(++roll.last, this);
        return roll.last;
      }()} {}

PoolHandle::~PoolHandle() {
  PoolRoll& roll = pool_roll();
  const std::lock_guard lock{roll.mutex};
  roll.pools.erase(number_);
}

void PoolHandle::stop_in(std::uint64_t number, const PoolJob* job, std::uint64_t serial) noexcept {
  if (const auto pool = find_pool(number)) pool->stop(job, serial);
}

std::optional<std::uint64_t> PoolHandle::fetch(PoolJob&, FetchStep) { return {}; }

void PoolJob::fetch_from(std::uint64_t number, FutureCore& answer, Deadline deadline) noexcept {
  // The pool may be destroyed while this thread sleeps.
  const auto step = [&](PoolHandle::FetchStep what) -> std::optional<std::uint64_t> {
    const auto pool = find_pool(number);
    return pool ? pool->fetch(*this, what) : std::optional<std::uint64_t>{};
  };
  auto read = step(PoolHandle::FetchStep::begin);
  if (!read) return;
  static thread_local Spinner spinner;
  // Kept with the job, which whoever waits keeps.
  auto& memory = *reinterpret_cast<ChannelLayout*>(fetched_from_->data());
  const auto news = [&] {
    return memory.results_up_to.load(std::memory_order_acquire) != *read || answer.is_done();
  };
  while (read && !answer.is_done()) {
    if (!news() && !spinner.spin(memory.worker_cpu, deadline, news)) {
      const bool sleeps = answer.sleep_elsewhere();
      const std::uint32_t bell = memory.pool_bell.load(std::memory_order_seq_cst);
      bool in_time = true;
      if (sleeps && !PoolEnd::sleep_by(memory, *read, ChannelLayout::by_futex) && !answer.is_done())
        in_time = futex_wait(memory.pool_bell, bell, deadline, FutexScope::host);
      answer.woken_elsewhere();
      if (!in_time) return static_cast<void>(step(PoolHandle::FetchStep::leave));
    }
    read = step(PoolHandle::FetchStep::look);
  }
}

PoolJob::~PoolJob() = default;
const PoolTerms& PoolJob::terms() const noexcept {
  static const PoolTerms usual;
  return terms_ ? *terms_ : usual;
}
void PoolJob::wake_fetcher_of_job() noexcept {
  auto& memory = *reinterpret_cast<ChannelLayout*>(fetched_from_->data());
  memory.pool_bell.fetch_add(1, std::memory_order_seq_cst);
  futex_wake(memory.pool_bell, std::numeric_limits<int>::max(), FutexScope::host);
}
bool PoolJob::begin(std::size_t) noexcept { return true; }
void PoolJob::item(std::size_t, std::span<const std::byte>, DescriptorSpan) noexcept {}
bool PoolJob::has_failed(std::size_t, std::span<const std::byte>, DescriptorSpan) noexcept {
  return false;
}
std::uint64_t PoolJob::next_serial() noexcept {
  static std::atomic<std::uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

Result<std::shared_ptr<PoolHandle>> PoolHandle::start(PoolConfig config) {
  PASSEL_TRY(IoLoop* const io, runtime_io());
  auto shared = std::make_shared<Shared>(config);
  std::string name = config.name.empty() ? "Pool" : config.name;
  flush_before_children();
  PASSEL_TRY(CellRef cell, make_cell(std::make_unique<PoolCore>(std::move(config), shared, *io),
                                     {.name = std::move(name)}));
  Promise<void> promise;
  Future<void> started = promise.future();
  call_in(*cell.get(), [&](Cell& self) { self.body<PoolCore>().start(self, std::move(promise)); });
  if (Result<void> outcome = started.get(); !outcome) {
    // None is left running when this returns.
    static_cast<void>(futex_wait(shared->gone, 0, Deadline::after(std::chrono::seconds{10}),
                                 FutexScope::process));
    return outcome.error();
  }
  return std::shared_ptr<PoolHandle>{
      std::make_shared<ActorPool>(std::move(cell), std::move(shared))};
}

void ActorPool::end() {
  if (generation_ != fork_generation()) return;
  if (give_up()) tell([](PoolCore& core) { core.drop(); });
  static_cast<void>(join(Deadline::never()));
}

Result<std::shared_ptr<void>> ActorPool::admit(Deadline deadline) {
  if (!shared_->places.are_bounded()) return std::shared_ptr<void>{};
  // In a callback of this pool nobody else could make room.
  if (waits_for_itself()) {
    shared_->places.enter_at_once();
  } else {
    PASSEL_CHECK(shared_->places.enter(deadline));
  }
  std::shared_ptr<void> ticket{shared_.get(),
                               [shared = shared_](void*) { shared->places.leave(); }};
  if (auto why = refusal()) return *std::move(why);
  return ticket;
}

void ActorPool::submit(std::unique_ptr<PoolJob> job) {
  PoolJob* const op = job.release();
  op->run = &PoolCore::accept;
  // In an actor nobody reads but the pool.
  if (Cell::current() != nullptr) op->awaited_ = false;
  if (!cell_->post_alone(op)) PoolCore::refuse(*op, shared_->refusal());
}

std::optional<Error> ActorPool::refusal() const {
  if (shared_->state.load(std::memory_order_acquire) == Shared::open) return {};
  return shared_->refusal();
}

Result<void> ActorPool::resize(unsigned processes) {
  if (auto why = refusal()) return *std::move(why);
  tell([processes](PoolCore& core) { core.resize(processes); });
  return {};
}

void ActorPool::close() {
  std::uint32_t expected = Shared::open;
  if (!shared_->state.compare_exchange_strong(expected, Shared::closing)) return;
  shared_->places.close();
  tell([](PoolCore& core) { core.close(); });
}

void ActorPool::terminate() {
  // It answers what others wait for, and their callbacks are not for this thread.
  if (give_up()) cell_->hand_over(op_of([](PoolCore& core) { core.terminate(); }));
}

bool ActorPool::give_up() {
  std::uint32_t state = shared_->state.load();
  do {
    if (state == Shared::terminated || state == Shared::failed) return false;
  } while (!shared_->state.compare_exchange_weak(state, Shared::terminated));
  shared_->places.close();
  return true;
}

Result<void> ActorPool::join(Deadline deadline) {
  if (shared_->state.load(std::memory_order_acquire) == Shared::open) {
    return Error{Errc::invalid_state, "Pool is still running"};
  }
  while (shared_->gone.load(std::memory_order_acquire) == 0) {
    if (waits_for_itself()) {
      return Error{Errc::deadlock,
                   "a callback waits for the end of a pool which cannot end before it returns"};
    }
    if (!futex_wait(shared_->gone, 0, deadline, FutexScope::process)) {
      return Error{Errc::timeout, "the pool's workers have not all ended yet"};
    }
  }
  return {};
}

PoolShutdown ActorPool::shutdown(Deadline deadline) {
  close();
  PoolShutdown report;
  if (join(deadline)) return report;
  const PoolStats last = stats();
  report.unfinished = last.queued;
  for (const auto& worker : last.workers) {
    report.unfinished += worker.waiting;
    if (!worker.task.empty()) report.killed.push_back({worker.name, worker.pid, worker.task});
  }
  terminate();
  static_cast<void>(join(Deadline::never()));
  return report;
}

PoolStats ActorPool::stats() const {
  PoolStats stats;
  if (cell_->runs_here()) return cell_->body<PoolCore>().stats();
  call_alone(*cell_.get(), [&](Cell& cell) { stats = cell.body<PoolCore>().stats(); });
  return stats;
}

std::vector<DeadLetter> ActorPool::dead_letters() const {
  std::vector<DeadLetter> letters;
  if (cell_->runs_here()) return cell_->body<PoolCore>().dead_letters();
  call_alone(*cell_.get(), [&](Cell& cell) { letters = cell.body<PoolCore>().dead_letters(); });
  return letters;
}

void ActorPool::stop(const PoolJob* job, std::uint64_t serial) {
  if (generation_ != fork_generation()) return;
  tell([job, serial](PoolCore& core) { core.stop_job(job, serial); });
}

void ActorPool::tell_taken(const PoolJob*, std::uint64_t serial, std::uint32_t items) {
  if (generation_ != fork_generation()) return;
  tell([serial, items](PoolCore& core) { core.tell_taken(serial, items); });
}

std::optional<std::uint64_t> ActorPool::fetch(PoolJob& job, FetchStep step) {
  if (generation_ != fork_generation() || Cell::current() != nullptr) return {};
  std::optional<std::uint64_t> read;
  call_alone(*cell_.get(), [&](Cell& cell) { read = cell.body<PoolCore>().fetch(job, step); });
  return read;
}

}  // namespace passel::inline v0::detail
