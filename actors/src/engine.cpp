// Layer actors: making, finding and taking down the engine of this process.
#include "engine.hpp"

#include <passel/detail/futex.hpp>
#include <passel/detail/quiet_thread.hpp>
#include <passel/detail/shared_object.hpp>

#include <caf/make_actor.hpp>

#include <algorithm>
#include <atomic>
#include <climits>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

namespace passel::inline v0::detail {
namespace {

std::atomic<Engine*> present{nullptr};
/// Engines that were stopped. The objects stay: a handle of an ended actor may still point to one.
Engine* retired = nullptr;
/// Who may change `present`: 0 nobody, else the fork generation + 1 of the process whose thread
/// does. A child that was forked in between finds an older generation and takes it over.
std::atomic<std::uint32_t> changing{0};

class ChangeLock {
 public:
  ChangeLock() noexcept {
    const std::uint32_t mine = fork_generation() + 1;
    std::uint32_t owner = 0;
    while (!changing.compare_exchange_strong(owner, mine, std::memory_order_acq_rel)) {
      if (owner == mine) {
        futex_wait(changing, owner, Deadline::never(), FutexScope::process);
        owner = 0;
      }
    }
  }
  ChangeLock(const ChangeLock&) = delete;
  ChangeLock& operator=(const ChangeLock&) = delete;
  ~ChangeLock() {
    changing.store(0, std::memory_order_release);
    futex_wake(changing, INT_MAX, FutexScope::process);
  }
};

/// Runs `work` on a thread of its own that no signal of the process is delivered to; threads it
/// makes inherit that. Error: no_space when there is no thread for it, or for what it starts.
template <class F>
Result<void> on_helper_thread(F work) {
  Result<void> outcome;
  PASSEL_TRY(std::thread helper, start_quiet_thread("passel.engine", [&outcome, &work] {
               try {
                 work();
               } catch (const std::system_error& failed) {
                 outcome = Error{Errc::no_space,
                                 std::string{"the engine of the actors: "} + failed.what()};
               }
             }));
  helper.join();
  return outcome;
}

}  // namespace

Engine::Engine() : generation_{fork_generation()} {}

Result<void> Engine::begin() {
  config_ = std::make_unique<caf::actor_system_config>();
  // Work stealing polls when idle and answers late; sharing does neither.
  config_->set("scheduler.policy", caf::atom("sharing"));
  config_->set("scheduler.max-threads",
               std::max<std::size_t>(2, std::thread::hardware_concurrency()));
  config_->set("scheduler.max-throughput", std::size_t{256});
  return on_helper_thread([this] {
    system_ = std::make_unique<caf::actor_system>(*config_);
    system_->await_actors_before_shutdown(false);
  });
}

bool Engine::is_of_this_process() const noexcept { return generation_ == fork_generation(); }

Result<CellRef> Engine::make(std::unique_ptr<CellBody> body, CellOptions options) {
  const std::scoped_lock lock{mutex_};
  if (stopping_) {
    return Error{Errc::invalid_state,
                 "actor '" + options.name + "' cannot start: the runtime is being shut down"};
  }
  caf::actor_config config;
  auto made = caf::make_actor<OpActor, caf::strong_actor_ptr>(
      system_->next_actor_id(), system_->node(), system_.get(), config, *this, std::move(body),
      std::move(options.name));
  // The reference that all handles own together; let_go gives it up.
  auto* const cell = static_cast<OpActor*>(made.release()->get());
  cell->following = first_;
  if (first_ != nullptr) first_->previous = cell;
  first_ = cell;
  ++live_;
  return CellRef{static_cast<Cell*>(cell)};
}

void Engine::forget(OpActor& cell) noexcept {
  if (!is_of_this_process()) return;
  const std::scoped_lock lock{mutex_};
  if (cell.previous != nullptr) cell.previous->following = cell.following;
  if (cell.following != nullptr) cell.following->previous = cell.previous;
  if (first_ == &cell) first_ = cell.following;
  if (--live_ == 0 && stopping_) all_gone_.notify_all();
}

std::size_t Engine::live() {
  const std::scoped_lock lock{mutex_};
  return live_;
}

std::vector<CellRef> Engine::live_handles() {
  const std::scoped_lock lock{mutex_};
  std::vector<CellRef> handles;
  for (OpActor* cell = first_; cell != nullptr; cell = cell->following) {
    if (cell->try_add_handle()) handles.emplace_back(static_cast<Cell*>(cell));
  }
  return handles;
}

std::vector<std::string> Engine::stop(Deadline deadline) {
  {
    const std::scoped_lock lock{mutex_};
    stopping_ = true;
  }
  std::vector<CellRef> cells = live_handles();
  for (const CellRef& cell : cells) cell->abolish();
  std::vector<std::string> late;
  for (const CellRef& cell : cells) {
    if (!cell->wait_ended(deadline)) late.push_back(cell->name());
  }
  cells.clear();
  if (!late.empty()) return late;
  {
    // Cells whose last handle was just dropped are ending by themselves.
    std::unique_lock lock{mutex_};
    const auto none_left = [this] { return live_ == 0; };
    if (deadline.is_never()) {
      all_gone_.wait(lock, none_left);
    } else if (!all_gone_.wait_until(lock, deadline.when(), none_left)) {
      for (OpActor* cell = first_; cell != nullptr; cell = cell->following) {
        late.push_back(cell->Cell::name());
      }
      return late;
    }
  }
  // When there is no thread for it, the system stays as it is: idle.
  if (on_helper_thread([this] { system_.reset(); })) config_.reset();
  return late;
}

Result<Engine*> engine() {
  Engine* found = present.load(std::memory_order_acquire);
  if (found != nullptr && found->is_of_this_process()) return found;
  const ChangeLock lock;
  found = present.load(std::memory_order_acquire);
  if (found == nullptr || !found->is_of_this_process()) {
    // A parent's engine is left as it is: its threads and locks do not work here.
    auto made = std::make_unique<Engine>();
    PASSEL_CHECK(made->begin());
    found = made.release();
    present.store(found, std::memory_order_release);
  }
  return found;
}

Result<CellRef> make_cell(std::unique_ptr<CellBody> body, CellOptions options) {
  PASSEL_TRY(Engine* const found, engine());
  return found->make(std::move(body), std::move(options));
}

std::vector<std::string> stop_engine(Deadline deadline) {
  const ChangeLock lock;
  Engine* const found = present.load(std::memory_order_acquire);
  if (found == nullptr || !found->is_of_this_process()) return {};
  std::vector<std::string> late = found->stop(deadline);
  found->next_retired = std::exchange(retired, found);
  present.store(nullptr, std::memory_order_release);
  return late;
}

std::size_t live_cells() {
  Engine* const found = present.load(std::memory_order_acquire);
  return found != nullptr && found->is_of_this_process() ? found->live() : 0;
}

}  // namespace passel::inline v0::detail
