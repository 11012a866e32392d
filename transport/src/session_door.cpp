// Layer transport: where sessions begin: the socket of a server, and whoever stands in front of it.
#include "session_door.hpp"

#include <passel/log.hpp>

#include <sys/epoll.h>
#include <sys/socket.h>

#include <chrono>
#include <string>
#include <utility>

namespace passel::inline v0::detail {
namespace {

constexpr std::chrono::milliseconds descriptors_pause{50};
constexpr int accepts_at_once = 64;

}  // namespace

Result<void> SessionDoor::open(std::function<void()> somebody_came) {
  PASSEL_TRY(reserve_, Descriptor::duplicate(socket_.socket.get()));
  open_ = std::make_shared<const bool>(true);
  PASSEL_TRY(watch_, loop_.watch(socket_.socket.get(), EPOLLIN,
                                 [come = std::move(somebody_came)](std::uint32_t) { come(); }));
  return {};
}

void SessionDoor::close() {
  open_.reset();
  watch_.reset();
  if (timer_) loop_.cancel(*timer_);
  timer_.reset();
  reserve_.reset();
  socket_.place.remove();
  socket_.socket.reset();
}

void SessionDoor::accept(const std::function<void(SessionCarrier)>& let_in) {
  // Another thread may have been quicker when it was wanted back.
  if (!reserve_) keep_reserve();
  for (int n = 0; n < accepts_at_once; ++n) {
    auto carrier = accept_session(socket_);
    if (!carrier) {
      if (carrier.error() == Errc::no_space) short_of_descriptors();
      return;
    }
    short_ = false;
    if (*carrier) let_in(**std::move(carrier));
  }
}

void SessionDoor::turn_away(SessionCarrier carrier) noexcept {
  if (!socket_.keys->wanted()) return;
  const auto packet = SecureStream::no_room();
  static_cast<void>(
      ::send(carrier.socket.get(), packet.data(), packet.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
}

void SessionDoor::short_of_descriptors() {
  if (std::exchange(short_, true)) turn_away_line();
  pause();
}

void SessionDoor::turn_away_line() {
  reserve_.reset();
  int told = 0;
  for (; told < accepts_at_once; ++told) {
    auto carrier = accept_session(socket_);
    if (!carrier) break;
    if (*carrier) turn_away(**std::move(carrier));
  }
  keep_reserve();
  if (told == 0) return;
  get_logger().warning("no descriptors for new clients at " + to_string(socket_.address) + ": " +
                       std::to_string(told) + " turned away");
}

void SessionDoor::keep_reserve() {
  if (auto reserve = Descriptor::duplicate(socket_.socket.get())) reserve_ = *std::move(reserve);
}

void SessionDoor::pause() {
  watch_.set_events(0);
  // It may be too late to cancel it: then it finds that the door is closed, or gone.
  timer_ = loop_.at(Deadline::after(descriptors_pause), [this, open = std::weak_ptr{open_}] {
    if (open.expired()) return;
    timer_.reset();
    watch_.set_events(EPOLLIN);
  });
}

}  // namespace passel::inline v0::detail
