// Layer transport: AuthKey, and the one that this process has.
#include <passel/authkey.hpp>

#include <sys/random.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>

namespace passel::inline v0 {
namespace {

constexpr std::size_t usual_size = 32;

struct ProcessKey {
  std::mutex mutex;
  std::optional<AuthKey> key;
};

// Never destroyed: threads may ask until the end.
ProcessKey& process_key() {
  static auto* const key = new ProcessKey;
  return *key;
}

}  // namespace

AuthKey::AuthKey(std::span<const std::byte> bytes) : bytes_{bytes.begin(), bytes.end()} {}
AuthKey::AuthKey(std::string_view text) : AuthKey{std::as_bytes(std::span{text})} {}

AuthKey& AuthKey::operator=(const AuthKey& other) {
  if (this != &other) {
    wipe();
    bytes_ = other.bytes_;
  }
  return *this;
}

AuthKey& AuthKey::operator=(AuthKey&& other) noexcept {
  if (this != &other) {
    wipe();
    bytes_ = std::move(other.bytes_);
  }
  return *this;
}

AuthKey::~AuthKey() { wipe(); }

void AuthKey::wipe() noexcept {
  if (!bytes_.empty()) ::explicit_bzero(bytes_.data(), bytes_.size());
  bytes_.clear();
}

AuthKey AuthKey::generate() {
  std::array<std::byte, usual_size> bytes;
  std::size_t have = 0;
  while (have < bytes.size()) {
    const ssize_t got = ::getrandom(bytes.data() + have, bytes.size() - have, 0);
    if (got > 0) have += static_cast<std::size_t>(got);
    if (got < 0 && errno != EINTR) std::abort();  // a kernel without randomness
  }
  AuthKey key{bytes};
  ::explicit_bzero(bytes.data(), bytes.size());
  return key;
}

std::string AuthKey::to_string() const {
  return "<AuthKey of " + std::to_string(bytes_.size()) + " bytes>";
}

bool operator==(const AuthKey& a, const AuthKey& b) noexcept {
  if (a.bytes_.size() != b.bytes_.size()) return false;
  std::byte differs{0};
  for (std::size_t i = 0; i < a.bytes_.size(); ++i) differs |= a.bytes_[i] ^ b.bytes_[i];
  return differs == std::byte{0};
}

AuthKey authkey() {
  ProcessKey& mine = process_key();
  const std::lock_guard lock{mine.mutex};
  if (!mine.key) mine.key = AuthKey::generate();
  return *mine.key;
}

void set_authkey(AuthKey key) {
  ProcessKey& mine = process_key();
  const std::lock_guard lock{mine.mutex};
  mine.key = std::move(key);
}

namespace detail {

void add_authkey(std::vector<std::byte>& args) {
  const AuthKey key = authkey();
  const std::uint64_t size = key.bytes().size();
  const auto* raw_size = reinterpret_cast<const std::byte*>(&size);
  args.insert(args.end(), key.bytes().begin(), key.bytes().end());
  args.insert(args.end(), raw_size, raw_size + sizeof size);
}

Result<void> inherit_authkey(std::vector<std::byte>& args) {
  std::uint64_t size = 0;
  const auto torn = [] { return Error{Errc::malformed, "a child was started without an authkey"}; };
  if (args.size() < sizeof size) return torn();
  const std::size_t rest = args.size() - sizeof size;
  std::memcpy(&size, args.data() + rest, sizeof size);
  if (size > rest) return torn();
  const std::span key = std::span{args}.subspan(rest - size, size);
  set_authkey(AuthKey{std::span<const std::byte>{key}});
  if (size != 0) ::explicit_bzero(key.data(), key.size());
  args.resize(rest - size);
  return {};
}

}  // namespace detail
}  // namespace passel::inline v0
