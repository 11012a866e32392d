// Tests: a handshake with fixed keys and numbers, and what a peer with the key says in it.
#pragma once

#include "fuzz_input.hpp"
#include "handshake.hpp"
#include "secure_stream.hpp"

#include <array>
#include <memory>
#include <utility>
#include <vector>

namespace passel_fuzz {

using passel::detail::Carrier;
using passel::detail::HandshakeKeys;
using passel::detail::Nonce;
using passel::detail::SecureStream;
using passel::detail::Side;
using Bytes = std::vector<std::byte>;

inline constexpr const char* fuzz_place = "/run/fuzz";

inline Nonce nonce_of(Side side) {
  Nonce nonce;
  nonce.fill(side == Side::client ? std::byte{'c'} : std::byte{'l'});
  return nonce;
}

inline std::unique_ptr<SecureStream> stream_of(Side side, Carrier carrier) {
  static const passel::AuthKey key{"the key that no input knows of"};
  static const auto host = HandshakeKeys::make(Carrier::host, {&key, 1}).unwrap();
  static const auto network = HandshakeKeys::make(Carrier::network, {&key, 1}).unwrap();
  return SecureStream::make(side, carrier == Carrier::host ? host : network, fuzz_place,
                            nonce_of(side))
      .unwrap();
}

/// All that `side` says to an honest peer until both are content.
inline Bytes words_of(Side side, Carrier carrier) {
  const auto client = stream_of(Side::client, carrier);
  const auto listener = stream_of(Side::listener, carrier);
  Bytes said;
  for (int round = 0; round < 4; ++round) {
    for (const Side speaker : {Side::client, Side::listener}) {
      Bytes bytes;
      (speaker == Side::client ? client : listener)->take(bytes);
      if (speaker == side) said.insert(said.end(), bytes.begin(), bytes.end());
      if (!bytes.empty()) (speaker == Side::client ? listener : client)->feed(bytes).unwrap();
    }
  }
  return said;
}

/// Feeds an input to one side. Whoever does not know the key can at most say again what was said.
inline void fuzz_handshake(Side side, const std::uint8_t* data, std::size_t size) {
  if (size == 0) return;
  const Carrier carrier = data[0] % 2 == 0 ? Carrier::host : Carrier::network;
  Pieces pieces{data + 1, size - 1};
  const auto all = pieces.rest();
  const auto stream = stream_of(side, carrier);
  std::array<std::byte, 512> plain;
  std::size_t fed = 0;
  Bytes answers;
  while (!pieces.done()) {
    const auto piece = pieces.next();
    fed += piece.size();
    const auto going_on = stream->feed(piece);
    stream->take(answers);
    demand("little is said to strangers", answers.size() < 2048);
    while (stream->established()) {
      const auto count = stream->read(plain);
      if (!count || *count == 0) break;
    }
    if (!going_on) break;
  }
  static const Bytes known =
      words_of(side == Side::client ? Side::listener : Side::client, Carrier::host);
  const bool knows_key = carrier == Carrier::host && fed >= known.size() &&
                         std::equal(known.begin(), known.end(), all.begin());
  demand("whoever has the key is let in, and nobody else", stream->established() == knows_key);
}

}  // namespace passel_fuzz
