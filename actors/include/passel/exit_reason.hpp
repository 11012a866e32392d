// Layer actors: why an actor or a process ended.
#pragma once

#include <passel/result.hpp>

#include <memory>
#include <string>

namespace passel::inline v0 {

/// Why an actor ended; told to its monitors and to its Supervisor.
///
/// `failed` carries the error of the exception that left a handler (Errc::task_failed with a
/// RemoteError); `unreachable` means that the last handle was dropped, so that nobody could ever
/// send to it again.
class PASSEL_API ExitReason {
 public:
  enum class Kind { normal, stopped, killed, unreachable, failed };

  ExitReason() = default;
  ExitReason(Kind kind) noexcept : kind_{kind} {}
  ExitReason(Error error)
      : kind_{Kind::failed}, error_{std::make_shared<const Error>(std::move(error))} {}

  [[nodiscard]] Kind kind() const noexcept { return kind_; }
  /// Ended by itself or because it was asked to.
  [[nodiscard]] bool is_orderly() const noexcept {
    return kind_ == Kind::normal || kind_ == Kind::stopped || kind_ == Kind::unreachable;
  }
  /// The error behind `failed`, else nullptr. Lives as long as this object.
  [[nodiscard]] const Error* error() const noexcept { return error_.get(); }
  /// "stopped", "failed: task_failed: std::runtime_error: no such page"
  [[nodiscard]] std::string to_string() const;

  friend bool operator==(const ExitReason& reason, Kind kind) noexcept {
    return reason.kind_ == kind;
  }

 private:
  Kind kind_ = Kind::normal;
  std::shared_ptr<const Error> error_;
};

}  // namespace passel::inline v0
