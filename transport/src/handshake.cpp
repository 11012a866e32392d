// Layer transport: what both sides say before the first message, as two machines.
#include "handshake.hpp"

#include <string.h>

#include <utility>

namespace passel::inline v0::detail {

using Next = HandshakeStep::Next;

Result<std::shared_ptr<const HandshakeKeys>> HandshakeKeys::make(Carrier carrier,
                                                                 std::span<const AuthKey> keys) {
  if (keys.size() > max_keys) {
    return Error{Errc::invalid_argument, std::to_string(keys.size()) + " authkeys at once, limit " +
                                             std::to_string(max_keys)};
  }
  std::vector<Secret> secrets;
  secrets.reserve(keys.size());
  for (const AuthKey& key : keys) {
    PASSEL_TRY(const Secret secret, carrier == Carrier::network
                                        ? derive_network_key(key)
                                        : derive_key(key.bytes(), unix_key_purpose));
    secrets.push_back(secret);
  }
  return std::make_shared<const HandshakeKeys>(carrier, std::move(secrets));
}

HandshakeKeys::~HandshakeKeys() {
  for (Secret& secret : secrets_) ::explicit_bzero(secret.data(), secret.size());
}

// ---- the listener -------------------------------------------------------------------------------

ListenerHandshake::ListenerHandshake(std::shared_ptr<const HandshakeKeys> keys, std::string place,
                                     const Nonce& nonce)
    : keys_{std::move(keys)}, place_{std::move(place)}, mine_{nonce} {}

HandshakeStep ListenerHandshake::step(std::span<const std::byte> message) {
  switch (std::exchange(stage_, Stage::over)) {
    case Stage::greeting: return greeted(message);
    case Stage::proof: return check_proof(message);
    case Stage::over: break;
  }
  return {Next::drop};
}

HandshakeStep ListenerHandshake::greeted(std::span<const std::byte> message) {
  const auto greeting = read_client_greeting(message);
  if (!greeting) return {Next::drop};
  // One of the two would wait for a proof that the other cannot give.
  if (greeting->has_key != keys_->kind()) return {Next::refuse};
  if (!keys_->wanted()) return {Next::welcome};
  client_ = greeting->nonce;
  const ListenerGreeting answer{.nonce = mine_};
  if (keys_->carrier() == Carrier::network) return {Next::encrypt, greeting_bytes(answer)};
  stage_ = Stage::proof;
  return {Next::listen, greeting_bytes(answer)};
}

HandshakeStep ListenerHandshake::check_proof(std::span<const std::byte> proof) {
  const Secret* known = nullptr;
  for (const Secret& secret : keys_->secrets()) {  // all of them, however early one fits
    const auto expected = prove(secret, Side::client, client_, mine_, place_);
    if (!expected || !same_proof(proof, *expected)) continue;
    known = &secret;
    key_ = static_cast<std::size_t>(known - keys_->secrets().data());
  }
  if (known == nullptr) return {Next::refuse};
  const auto mine = prove(*known, Side::listener, client_, mine_, place_);
  if (!mine) return {Next::drop};
  return {Next::welcome, {mine->begin(), mine->end()}};
}

Result<std::vector<Secret>> ListenerHandshake::session_keys() const {
  std::vector<Secret> keys;
  for (const Secret& secret : keys_->secrets()) {
    PASSEL_TRY(const Secret key, session_key(secret, client_, mine_));
    keys.push_back(key);
  }
  return keys;
}

// ---- the client ---------------------------------------------------------------------------------

ClientHandshake::ClientHandshake(std::shared_ptr<const HandshakeKeys> keys, std::string place,
                                 const Nonce& nonce)
    : keys_{std::move(keys)}, place_{std::move(place)}, mine_{nonce} {
  if (!keys_->wanted()) stage_ = Stage::over;
}

std::vector<std::byte> ClientHandshake::greeting() const {
  if (!keys_->wanted()) return greeting_bytes(ClientGreeting{});
  return greeting_bytes(ClientGreeting{.has_key = keys_->kind(), .nonce = mine_});
}

HandshakeStep ClientHandshake::step(std::span<const std::byte> message) {
  switch (std::exchange(stage_, Stage::over)) {
    case Stage::answer: return answered(message);
    case Stage::proof: {
      const auto expected =
          prove(keys_->secrets().front(), Side::listener, mine_, listener_, place_);
      return {expected && same_proof(message, *expected) ? Next::welcome : Next::refuse};
    }
    case Stage::over: break;
  }
  return {Next::refuse};
}

HandshakeStep ClientHandshake::answered(std::span<const std::byte> message) {
  const auto answer = read_listener_greeting(message);
  if (!answer) return {Next::refuse};
  listener_ = answer->nonce;
  if (keys_->carrier() == Carrier::network) return {Next::encrypt};
  const auto proof = prove(keys_->secrets().front(), Side::client, mine_, listener_, place_);
  if (!proof) return {Next::refuse};
  stage_ = Stage::proof;
  return {Next::listen, {proof->begin(), proof->end()}};
}

Result<std::vector<Secret>> ClientHandshake::session_keys() const {
  PASSEL_TRY(const Secret key, session_key(keys_->secrets().front(), mine_, listener_));
  return std::vector<Secret>{key};
}

}  // namespace passel::inline v0::detail
