// Layer actors: a cell that is a CAF actor: CAF schedules it, and monitors, links and exit messages
// reach it.
#pragma once

#include <passel/detail/cell.hpp>

#include <caf/actor_config.hpp>
#include <caf/local_actor.hpp>
#include <caf/resumable.hpp>

#include <functional>
#include <memory>
#include <string>

namespace passel::inline v0::detail {

class Engine;

/// Cuts the thread's link to CAF's logger that spawning and ending actors leave behind: a system
/// that is taken down would wait for this thread to end.
class CafThreadGuard {
 public:
  CafThreadGuard() noexcept;
  CafThreadGuard(const CafThreadGuard&) = delete;
  CafThreadGuard& operator=(const CafThreadGuard&) = delete;
  ~CafThreadGuard();

 private:
  bool had_logger_;
};

class OpActor final : public caf::local_actor, public caf::resumable, public Cell {
 public:
  OpActor(caf::actor_config& config, Engine& engine, std::unique_ptr<CellBody> body,
          std::string name);

  // CAF's side of it.
  void launch(caf::execution_unit* unit, bool lazy, bool hide) override;
  using caf::local_actor::enqueue;
  void enqueue(caf::mailbox_element_ptr element, caf::execution_unit* unit) override;
  subtype_t subtype() const override { return scheduled_actor; }
  resume_result resume(caf::execution_unit* unit, std::size_t throughput) override;
  void intrusive_ptr_add_ref_impl() override;
  void intrusive_ptr_release_impl() override;
  void on_destroy() override;
  const char* name() const override { return Cell::name().c_str(); }
  using Cell::resume;

  /// Neighbours in the engine's list of live cells, under its mutex.
  OpActor* previous = nullptr;
  OpActor* following = nullptr;

 private:
  void schedule() noexcept override;
  void announce_end() noexcept override;
  void arm_timer(Deadline::Clock::time_point when, std::function<void(Cell&)> function) override;
  void attach_monitor(std::function<void(const ExitReason&)> told) override;
  void keep() noexcept override;
  void let_go() noexcept override;
  void handle_caf_message(caf::mailbox_element& element);

  Engine& engine_;
};

}  // namespace passel::inline v0::detail
