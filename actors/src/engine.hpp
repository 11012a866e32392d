// Layer actors: the CAF system behind the actors of this process. Only files of this folder include
// it.
#pragma once

#include "op_actor.hpp"

#include <passel/detail/cell.hpp>

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace passel::inline v0::detail {

/// Owns an actor system: built and taken down on helper threads with all signals blocked, or left
/// running for ever. A forked child never touches its parent's; it makes its own.
class Engine {
 public:
  Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Before anything else. Error: no_space when there are no threads for it.
  [[nodiscard]] Result<void> begin();
  [[nodiscard]] caf::actor_system& system() noexcept { return *system_; }
  [[nodiscard]] bool is_of_this_process() const noexcept;

  [[nodiscard]] Result<CellRef> make(std::unique_ptr<CellBody> body, CellOptions options);
  void forget(OpActor& cell) noexcept;
  [[nodiscard]] std::size_t live();
  /// Ends every cell and takes the system down. Names the cells that did not end in time; then the
  /// system stays.
  [[nodiscard]] std::vector<std::string> stop(Deadline deadline);

  Engine* next_retired = nullptr;

 private:
  [[nodiscard]] std::vector<CellRef> live_handles();

  std::uint32_t generation_;
  std::unique_ptr<caf::actor_system_config> config_;
  std::unique_ptr<caf::actor_system> system_;
  std::mutex mutex_;  // guards the list and stopping_
  std::condition_variable all_gone_;
  OpActor* first_ = nullptr;
  std::size_t live_ = 0;
  bool stopping_ = false;
};

/// The engine of this process, made on first use. Error: no_space when there are no threads for it.
[[nodiscard]] Result<Engine*> engine();

}  // namespace passel::inline v0::detail
