// Test support: the thread between a client and a server.
#include "chaos_proxy.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <iterator>
#include <utility>

namespace passel_test {
namespace {

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in raw{};
  raw.sin_family = AF_INET;
  raw.sin_port = htons(port);
  raw.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return raw;
}

}  // namespace

ChaosProxy::ChaosProxy(std::uint16_t server, Change change)
    : server_{server}, change_{std::move(change)} {
  door_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sockaddr_in here = loopback(0);
  socklen_t size = sizeof here;
  if (::bind(door_, reinterpret_cast<const sockaddr*>(&here), sizeof here) != 0 ||
      ::listen(door_, 128) != 0 ||
      ::getsockname(door_, reinterpret_cast<sockaddr*>(&here), &size) != 0 ||
      ::pipe2(wakes_, O_CLOEXEC | O_NONBLOCK) != 0) {
    std::abort();
  }
  port_ = ntohs(here.sin_port);
  thread_ = std::thread{[this] { run(); }};
}

ChaosProxy::~ChaosProxy() {
  over_ = true;
  wake();
  thread_.join();
  ::close(door_);
  ::close(wakes_[0]);
  ::close(wakes_[1]);
}

void ChaosProxy::wake() const {
  const char one = 1;
  static_cast<void>(!::write(wakes_[1], &one, 1));
}

void ChaosProxy::set(Way way, Mode mode) {
  mode_[static_cast<int>(way)] = mode;
  wake();
}

void ChaosProxy::cut(Cut which) {
  cut_ = which;
  wake();
  while (cut_ != Cut::none) std::this_thread::yield();
}

void ChaosProxy::end(int fd, bool reset) {
  const linger now{1, 0};  // what is on its way is thrown away
  if (reset) ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  ::close(fd);
}

void ChaosProxy::make_cut() {
  if (cut_ == Cut::none) return;
  for (const Line& line : open_) {
    end(line.there.to, true);
    if (cut_ == Cut::both)
      end(line.there.from, true);
    else
      orphans_.push_back(line.there.from);
  }
  open_.clear();
  cut_ = Cut::none;
}

void ChaosProxy::add_line() {
  const int client = ::accept4(door_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (client < 0) return;
  const int there = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in raw = loopback(server_);
  if (::connect(there, reinterpret_cast<const sockaddr*>(&raw), sizeof raw) != 0) {
    ::close(client);
    ::close(there);
    return;
  }
  ::fcntl(there, F_SETFL, O_NONBLOCK);
  const int on = 1;
  ::setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(there, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  open_.push_back({{client, there, Way::there}, {there, client, Way::back}});
  ++lines_;
}

bool ChaosProxy::move(Half& half, short from_events, short to_events) {
  const Mode mode = mode_[static_cast<int>(half.way)];
  if (mode == Mode::held) return true;
  if (half.waiting.empty() && from_events != 0) {
    std::array<char, 65536> buffer;
    const ssize_t got = ::recv(half.from, buffer.data(), buffer.size(), 0);
    if (got == 0 || (got < 0 && errno != EAGAIN)) return false;
    half.waiting.assign(buffer.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
    if (mode == Mode::lost) half.waiting.clear();
    if (change_ && !half.waiting.empty()) change_(half.waiting, half.way);
    to_events = POLLOUT;
  }
  if (half.waiting.empty() || to_events == 0) return true;
  const ssize_t sent = ::send(half.to, half.waiting.data(), half.waiting.size(), MSG_NOSIGNAL);
  if (sent < 0) return errno == EAGAIN;
  half.waiting.erase(0, static_cast<std::size_t>(sent));
  return true;
}

void ChaosProxy::run() {
  while (!over_) {
    std::vector<pollfd> watched{{door_, POLLIN, 0}, {wakes_[0], POLLIN, 0}};
    for (const Line& line : open_) {
      for (const Half* half : {&line.there, &line.back}) {
        const bool held = mode_[static_cast<int>(half->way)] == Mode::held;
        // A closed one would be reported whatever was asked for: it is left out.
        const bool reads = !held && half->waiting.empty();
        const bool writes = !held && !half->waiting.empty();
        watched.push_back({reads ? half->from : -1, POLLIN, 0});
        watched.push_back({writes ? half->to : -1, POLLOUT, 0});
      }
    }
    ::poll(watched.data(), watched.size(), -1);
    std::array<char, 64> wakes;
    static_cast<void>(!::read(wakes_[0], wakes.data(), wakes.size()));
    std::size_t at = 2;
    for (auto line = open_.begin(); line != open_.end(); at += 4) {
      const bool open = move(line->there, watched[at].revents, watched[at + 1].revents) &&
                        move(line->back, watched[at + 2].revents, watched[at + 3].revents);
      if (!open) {
        end(line->there.from, false);
        end(line->there.to, false);
      }
      line = open ? std::next(line) : open_.erase(line);
    }
    make_cut();
    if (watched[0].revents != 0) add_line();
  }
  for (const Line& line : open_) {
    end(line.there.from, false);
    end(line.there.to, false);
  }
  for (const int fd : orphans_) end(fd, false);
}

}  // namespace passel_test
