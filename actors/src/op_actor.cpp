// Layer actors: a cell as a CAF actor.
#include "op_actor.hpp"

#include "engine.hpp"

#include <caf/actor_clock.hpp>
#include <caf/actor_control_block.hpp>
#include <caf/allowed_unsafe_message_type.hpp>
#include <caf/detail/sync_request_bouncer.hpp>
#include <caf/execution_unit.hpp>
#include <caf/logger.hpp>
#include <caf/mailbox_element.hpp>
#include <caf/scheduler/abstract_coordinator.hpp>
#include <caf/sec.hpp>
#include <caf/system_messages.hpp>

#include <utility>

namespace passel::inline v0::detail {

/// What the clock sends to a cell whose time has come.
struct TimedCall {
  std::shared_ptr<std::function<void(Cell&)>> function;
};

}  // namespace passel::inline v0::detail

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(passel::detail::TimedCall)

namespace passel::inline v0::detail {
namespace {

caf::error to_caf(const ExitReason& reason) {
  switch (reason.kind()) {
    case ExitReason::Kind::normal: return {};
    case ExitReason::Kind::stopped: return caf::exit_reason::user_shutdown;
    case ExitReason::Kind::killed: return caf::exit_reason::kill;
    case ExitReason::Kind::unreachable: return caf::exit_reason::unreachable;
    case ExitReason::Kind::failed: break;
  }
  return caf::exit_reason::unhandled_exception;
}

}  // namespace

CafThreadGuard::CafThreadGuard() noexcept : had_logger_{caf::logger::current_logger() != nullptr} {}
CafThreadGuard::~CafThreadGuard() {
  if (!had_logger_ && caf::logger::current_logger() != nullptr) {
    caf::logger::set_current_actor_system(nullptr);
  }
}

OpActor::OpActor(caf::actor_config& config, Engine& engine, std::unique_ptr<CellBody> body,
                 std::string name)
    : caf::local_actor{config}, Cell{std::move(body), std::move(name)}, engine_{engine} {}

void OpActor::launch(caf::execution_unit*, bool, bool) {
  // Nothing to do: the first message finds the inbox idle. The engine keeps its own list, so CAF
  // need not count us.
}

void OpActor::enqueue(caf::mailbox_element_ptr element, caf::execution_unit*) {
  // Not run on the sender's stack: CAF's senders do not expect it.
  Op* const op = make_op([this, message = std::move(element)](Cell* cell) {
    if (cell != nullptr) {
      handle_caf_message(*message);
    } else {
      caf::detail::sync_request_bouncer{to_caf(exit_reason())}(*message);
    }
  });
  switch (push(op)) {
    case Pushed::queued: return;
    case Pushed::unblocked: schedule(); return;
    case Pushed::closed: op->run(op, nullptr); return;
  }
}

void OpActor::handle_caf_message(caf::mailbox_element& element) {
  if (element.content().match_elements<TimedCall>()) {
    (*element.content().get_as<TimedCall>(0).function)(*this);
    return;
  }
  if (element.content().match_elements<caf::exit_msg>()) {
    // As CAF's own actors: a normal end of a linked actor does not spread.
    const caf::error& reason = element.content().get_as<caf::exit_msg>(0).reason;
    if (!reason) return;
    if (reason == caf::exit_reason::kill) {
      end(ExitReason::Kind::killed);
    } else if (reason == caf::exit_reason::user_shutdown) {
      end(ExitReason::Kind::stopped);
    } else {
      end(Error{Errc::task_failed, "a linked actor ended: " + home_system().render(reason)});
    }
    return;
  }
  if (element.mid.is_request() && element.sender != nullptr) {
    element.sender->enqueue(ctrl(), element.mid.response_id(),
                            caf::make_message(caf::make_error(caf::sec::unexpected_message)),
                            nullptr);
  }
}

caf::resumable::resume_result OpActor::resume(caf::execution_unit*, std::size_t throughput) {
  return run(nullptr, throughput) == Outcome::more ? resume_later : awaiting_message;
}

void OpActor::intrusive_ptr_add_ref_impl() { caf::intrusive_ptr_add_ref(ctrl()); }
void OpActor::intrusive_ptr_release_impl() { caf::intrusive_ptr_release(ctrl()); }
void OpActor::keep() noexcept { caf::intrusive_ptr_add_ref(ctrl()); }
void OpActor::let_go() noexcept { caf::intrusive_ptr_release(ctrl()); }

void OpActor::on_destroy() {
  // The cell has ended by now: its handles together own one of CAF's references, and give it up
  // only then.
  monitorable_actor::on_destroy();
}

void OpActor::schedule() noexcept {
  if (!engine_.is_of_this_process()) {
    // A copy in a forked child: the engine's threads do not exist here, so this thread does it all.
    while (run(nullptr, SIZE_MAX) == Outcome::more) {
    }
    return;
  }
  caf::intrusive_ptr_add_ref(ctrl());  // the job's; CAF releases it
  engine_.system().scheduler().enqueue(this);
}

void OpActor::announce_end() noexcept {
  const CafThreadGuard guard;
  cleanup(to_caf(exit_reason()), nullptr);
  engine_.forget(*this);
}

void OpActor::arm_timer(Deadline::Clock::time_point when, std::function<void(Cell&)> function) {
  if (!engine_.is_of_this_process()) return;
  const CafThreadGuard guard;
  TimedCall call{std::make_shared<std::function<void(Cell&)>>(std::move(function))};
  engine_.system().clock().schedule_message(
      when, caf::strong_actor_ptr{ctrl()},
      caf::make_mailbox_element(nullptr, caf::make_message_id(), {}, std::move(call)));
}

void OpActor::attach_monitor(std::function<void(const ExitReason&)> told) {
  const CafThreadGuard guard;
  attach_functor([this, told = std::move(told)] { told(exit_reason()); });
}

}  // namespace passel::inline v0::detail
