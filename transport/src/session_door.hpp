// Layer transport: where sessions begin: the socket of a server, and whoever stands in front of it.
#pragma once

#include <passel/detail/descriptor.hpp>
#include <passel/detail/io_loop.hpp>
#include <passel/result.hpp>

#include "session_socket.hpp"

#include <functional>
#include <memory>
#include <optional>

namespace passel::inline v0::detail {

/// Lets clients in as they come. When the process has no descriptor left they wait in the kernel's
/// line for a moment; those who are still there then are told that there is no room, by means of a
/// descriptor that is kept for this, and nobody turns in circles meanwhile. On the I/O thread, but
/// for what is const.
class SessionDoor {
 public:
  SessionDoor(IoLoop& loop, SessionSocket socket) : loop_{loop}, socket_{std::move(socket)} {}
  SessionDoor(const SessionDoor&) = delete;
  SessionDoor& operator=(const SessionDoor&) = delete;

  [[nodiscard]] const Address& address() const noexcept { return socket_.address; }
  [[nodiscard]] bool wants_key() const noexcept { return socket_.keys->wanted(); }
  /// Has `somebody_came` called when clients are there, until `close`. Errors: those of
  /// IoLoop::watch, no_space.
  [[nodiscard]] Result<void> open(std::function<void()> somebody_came);
  /// Gives those who are there to `let_in`, some of them at a time.
  void accept(const std::function<void(SessionCarrier)>& let_in);
  /// Tells the client that there is no room for it, and drops it.
  void turn_away(SessionCarrier carrier) noexcept;
  /// Nobody comes any more, and the address is free.
  void close();

 private:
  void short_of_descriptors();
  void turn_away_line();
  void keep_reserve();
  void pause();

  IoLoop& loop_;
  SessionSocket socket_;
  IoLoop::Watch watch_;
  Descriptor reserve_;
  bool short_ = false;  // there was no descriptor for whoever came last
  std::optional<IoLoop::TimerKey> timer_;
  std::shared_ptr<const bool> open_;  // until it is closed
};

}  // namespace passel::inline v0::detail
