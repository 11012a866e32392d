// Tests, a fuzz target: what comes to a Connection from a socket of either kind.
#include <passel/connection.hpp>

#include "fuzz_input.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <optional>

using passel::Connection;
using passel_fuzz::demand;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const int type = data[0] % 2 == 0 ? SOCK_STREAM : SOCK_SEQPACKET;
  passel_fuzz::Pieces pieces{data + 1, size - 1};
  int ends[2];
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) != 0) return 0;
  Connection line = Connection::adopt(ends[0]).unwrap();
  const auto receive = [&line]() -> std::optional<std::size_t> {
    const auto message = line.recv_bytes_for(std::chrono::nanoseconds{0});
    if (!message) return std::nullopt;
    return message->size();
  };
  std::size_t fed = 0;
  std::size_t taken = 0;
  while (!pieces.done()) {
    const auto piece = pieces.next();
    if (::send(ends[1], piece.data(), piece.size(), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) break;
    fed += piece.size();
    while (const auto got = receive()) taken += 16 + *got;
    demand("what comes out came in", taken <= fed);
  }
  ::close(ends[1]);
  while (const auto got = receive()) taken += 16 + *got;
  demand("what comes out came in", taken <= fed);
  demand("the end is told", !line.recv_bytes());
  return 0;
}
