// Layer actors: OS processes as children of a Supervisor.
#include <passel/supervised_process.hpp>

#include <passel/detail/child.hpp>
#include <passel/detail/io_loop.hpp>

#include <csignal>
#include <mutex>

namespace passel::inline v0::detail {
namespace {

/// The lives of one supervised process. Shared by the functions of its ChildSpec and by what is
/// under way on the I/O thread.
class Lives : public std::enable_shared_from_this<Lives> {
 public:
  Lives(SupervisedProcess options, TaskId task, std::function<Result<Encoded>()> encode)
      : options_{std::move(options)}, task_{task}, encode_{std::move(encode)} {}

  /// Starting a process waits for the guardian, which the supervisor's actor must not: the I/O
  /// thread does it.
  Result<void> start(std::function<void(ExitReason)> exited) {
    PASSEL_TRY(IoLoop* const io, runtime_io());
    PASSEL_TRY(Encoded args, encode_());
    {
      const std::lock_guard lock{mutex_};
      child_.reset();
      signal_ = 0;
    }
    auto spec = std::make_shared<ProcessSpec>(ProcessSpec{.name = options_.name,
                                                          .task = task_,
                                                          .method = options_.method,
                                                          .daemon = true,
                                                          .args = std::move(args)});
    io->post([self = shared_from_this(), spec, exited = std::move(exited)] {
      auto child = start_child(std::move(*spec));
      if (!child) return exited(child.error());
      self->started(*child);
      (*child)->on_exit([self, exited, pid = (*child)->id().pid](ExitStatus status) {
        exited(self->reason(pid, status));
      });
    });
    return {};
  }

  void signal(int number) {
    const std::lock_guard lock{mutex_};
    signal_ = number;
    if (child_) static_cast<void>(child_->signal(number).is_ok());
  }

 private:
  void started(std::shared_ptr<Child> child) {
    const std::lock_guard lock{mutex_};
    child_ = std::move(child);
    // Asked to end before it was there.
    if (signal_ != 0) static_cast<void>(child_->signal(signal_).is_ok());
  }

  ExitReason reason(int pid, ExitStatus status) {
    const std::lock_guard lock{mutex_};
    if (signal_ != 0)
      return signal_ == SIGKILL ? ExitReason::Kind::killed : ExitReason::Kind::stopped;
    if (status.exitcode() == 0) return ExitReason::Kind::normal;
    auto lost = std::make_shared<WorkerLost>();
    lost->pid = pid;
    lost->exit_code = status.code;
    lost->signal = status.signal;
    lost->task = options_.name;
    std::string text = "process " + options_.name + " (" + std::to_string(pid) + ") ";
    text += status.signal != 0 ? "was killed by signal " + std::to_string(status.signal)
                               : "exited with code " + std::to_string(status.code);
    return Error{Errc::worker_lost, std::move(text), std::move(lost)};
  }

  const SupervisedProcess options_;
  const TaskId task_;
  const std::function<Result<Encoded>()> encode_;
  std::mutex mutex_;
  std::shared_ptr<Child> child_;
  int signal_ = 0;  ///< sent by the supervisor in this life
};

}  // namespace

ChildSpec process_child(SupervisedProcess options, TaskId task,
                        std::function<Result<Encoded>()> encode) {
  const ChildOptions child = options.child;
  std::string name = options.name;
  auto lives = std::make_shared<Lives>(std::move(options), task, std::move(encode));
  return ChildSpec{.name = std::move(name),
                   .start =
                       [lives](std::function<void(ExitReason)> exited) {
                         return lives->start(std::move(exited));
                       },
                   .stop = [lives] { lives->signal(SIGTERM); },
                   .kill = [lives] { lives->signal(SIGKILL); },
                   .release = {},
                   .options = child};
}

}  // namespace passel::inline v0::detail
