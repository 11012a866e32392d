// Layer transport: a session over a frame socket: the machine and its carrier, driven by whoever
// watches the socket.
#pragma once

#include "frame_socket.hpp"
#include "session.hpp"

#include <passel/detail/spin.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace passel::inline v0::detail {

class SessionPort;

/// What a session asks of its owner. Called from within SessionPort's functions, on the same
/// thread; may call back into the port, but not destroy it. Views are valid during the call.
class SessionHandler {
 public:
  SessionHandler() = default;
  SessionHandler(const SessionHandler&) = delete;
  SessionHandler& operator=(const SessionHandler&) = delete;
  virtual ~SessionHandler();

  virtual void opened(const Hello& peer);
  /// A call of the peer. Answer it with SessionPort::reply, now or later. Refuses with
  /// `unsupported` unless overridden.
  virtual void serve(SessionPort& port, session_action::Serve&& call);
  virtual void abandoned(std::uint64_t call, std::uint64_t target);
  /// The answer to that call reached nobody: its caller had given up, or it was too large, which
  /// the caller has been told instead.
  virtual void unwanted(std::uint64_t call, std::uint64_t target);
  /// The end of a call made here; comes exactly once for each.
  virtual void answered(session_action::Answer&& answer) = 0;
  virtual void granted(const GrantMessage& grant);
  virtual void grant_lost(const ReleaseMessage& grant);
  virtual void returned(const ReleaseMessage& grant, bool abandoned);
  virtual void notified(session_action::Notified&& notified);
  virtual void credited(const CreditMessage& credit);
  /// Nothing more comes. The socket is still open, so that a goodbye can be flushed.
  virtual void closed(const Error& error);
};

/// One end of a session on a stream socket. No threads and no waiting: call `readable`,
/// `writable` and `tick` when the socket or the clock says so. Everything that is sent collects
/// until `flush`, so answer a batch, then flush once. Not for use by several threads at once.
class SessionPort {
 public:
  using Time = Session::Time;

  SessionPort(Descriptor socket, SessionOptions options, SessionHandler& handler,
              FrameSocket::Limits limits = {});
  /// Nothing is said, and nothing taken, before both sides know that they have the same key. Call
  /// it before `start`. What goes wrong ends the session with auth_failed.
  void protect(std::unique_ptr<SecureStream> stream, Carrier carrier) noexcept {
    socket_.protect(std::move(stream), carrier);
  }
  /// The peer runs on the same host: both say on which CPU, so that whoever waits for the other
  /// knows whether that one can get on meanwhile.
  void tell_cpus() noexcept { tells_cpus_ = true; }

  /// Says hello. Call it once, first.
  void start(Time now);

  /// Asks the peer; the answer comes to SessionHandler::answered with the returned id, perhaps
  /// before this returns (when the session is closed). The descriptors are kept open until they are
  /// sent.
  std::uint64_t call(std::uint64_t target, Method method, BytesView args, Time now,
                     SharedDescriptors descriptors = {}, std::optional<Time> deadline = {},
                     std::uint64_t trace = 0);
  void cancel(std::uint64_t call, Time now);
  void reply(std::uint64_t call, Result<BytesView> result, Time now,
             SharedDescriptors descriptors = {});
  void grant(const GrantMessage& grant, Time now);
  void release(const ReleaseMessage& release, Time now);
  void notify(NotifyMessage message, Time now, SharedDescriptors descriptors = {});
  void credit(const CreditMessage& credit, Time now);
  /// Says goodbye and ends the session; flush afterwards.
  void leave(std::string reason, Time now);

  /// Takes what has come. A broken connection ends the session.
  void readable(Time now);
  /// Sends what has collected: true when all of it is gone. A broken connection ends the session.
  bool flush(Time now);
  void tick(Time now);
  /// The host was suspended for a while.
  void slept(Time now) { step(session_event::Slept{}, now); }

  [[nodiscard]] std::size_t key() const noexcept { return socket_.key(); }
  [[nodiscard]] Carrier carrier() const noexcept { return socket_.carrier(); }
  [[nodiscard]] int fd() const noexcept { return socket_.fd(); }
  [[nodiscard]] bool wants_write() const noexcept { return socket_.wants_write(); }
  /// Where the peer ran when it asked or answered last, when it tells. Any thread may ask.
  [[nodiscard]] const CpuMark& peer_cpu() const noexcept { return peer_cpu_; }
  [[nodiscard]] std::size_t unsent() const noexcept { return socket_.unsent(); }
  [[nodiscard]] std::optional<Time> next_wakeup() const { return session_.next_wakeup(); }
  [[nodiscard]] const Session& session() const noexcept { return session_; }

 private:
  void step(SessionEvent event, Time now);
  void perform(SessionAction& action, Time now);
  void send(session_action::Send& send, Time now);
  void send_instead(const ResultMessage& answer, std::uint64_t target, const Error& why, Time now);

  Session session_;
  FrameSocket socket_;
  SessionHandler& handler_;
  CpuMark peer_cpu_;
  bool tells_cpus_ = false;
};

}  // namespace passel::inline v0::detail
