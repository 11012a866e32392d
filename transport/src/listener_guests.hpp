// Layer transport: the clients of a Listener that have not been let in yet.
#pragma once

#include <passel/detail/deadline.hpp>
#include <passel/detail/descriptor.hpp>
#include <passel/listener.hpp>

#include "connection_end.hpp"
#include "handshake.hpp"
#include "refusals.hpp"

#include <poll.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace passel::inline v0::detail {

/// What a listener asks of its clients, and what it gives them.
struct GuestRules {
  std::shared_ptr<const HandshakeKeys> keys;
  std::string place;    ///< the name that its socket has bound; empty for TCP
  std::string address;  ///< for people
  std::chrono::milliseconds timeout{};
  std::size_t most = 0;
};

/// All of them are looked after at once, without a thread. For one thread at a time, but for
/// `refused`.
class ListenerGuests {
 public:
  struct LetIn {
    std::shared_ptr<ConnectionEnd> end;
    std::optional<Address> from;
  };

  explicit ListenerGuests(GuestRules rules) : rules_{std::move(rules)} {}

  /// When there is no room, the oldest goes, of those who came from where most of them did.
  void add(Descriptor socket, std::optional<Address> from);
  /// Listens to everybody; one who is welcome, if there is one.
  [[nodiscard]] std::optional<LetIn> serve();
  /// What to wait for, and until when at most.
  [[nodiscard]] Deadline watch(std::vector<pollfd>& watched) const;
  void clear() noexcept { guests_.clear(); }
  [[nodiscard]] std::uint64_t refused() const noexcept { return refused_.load(); }
  [[nodiscard]] std::size_t most() const noexcept { return rules_.most; }

 private:
  using Clock = Refusals::Clock;
  struct Guest {
    std::shared_ptr<ConnectionEnd> end;
    std::optional<Address> from;
    std::string host;  // empty: this one
    Clock::time_point listened_to{};
    Deadline until = Deadline::never();
    ListenerHandshake handshake;
    bool encrypting = false;
  };
  enum class Verdict { undecided, welcome, gone, refused };

  void make_room();
  Verdict listen_to(Guest& guest);
  Verdict hear(Guest& guest);
  Verdict shake_hands(Guest& guest);
  void refuse(const Guest& guest);

  const GuestRules rules_;
  std::deque<Guest> guests_;
  Refusals refusals_;
  std::atomic<std::uint64_t> refused_{0};
};

}  // namespace passel::inline v0::detail
