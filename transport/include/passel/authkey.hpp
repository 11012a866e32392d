// Layer transport: AuthKey, the secret that both ends of a connection know.
#pragma once

#include <passel/export.hpp>
#include <passel/result.hpp>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace passel::inline v0 {

/// A secret by which Listener and Client know each other. It has no codec: a value with an AuthKey
/// in it does not compile as something to be sent. Its memory is wiped when it goes. A plain value
/// type, for one thread at a time.
///
/// Keys should be random, as `AuthKey::generate()` makes them, and reach other hosts in files that
/// only their owner can read:
///
///     passel::AuthKey::generate().save("/etc/crawler/key").unwrap();     // once, then copied
///     auto key = passel::AuthKey::load("/etc/crawler/key").unwrap();
///
/// Whoever listens in on the network can try keys on what he recorded. A short key (under 16 bytes)
/// is made dearer to try (scrypt), which takes some 100 ms of each process that uses it over TCP,
/// once, and the log warns of it; but it stays short.
///
/// Source of the semantics: the authkey of Python's multiprocessing, which is bytes.
class PASSEL_API AuthKey {
 public:
  /// Those bytes, which may be none.
  explicit AuthKey(std::span<const std::byte> bytes);
  explicit AuthKey(std::string_view text);
  AuthKey(const AuthKey&) = default;
  AuthKey(AuthKey&&) noexcept = default;
  AuthKey& operator=(const AuthKey& other);
  AuthKey& operator=(AuthKey&& other) noexcept;
  ~AuthKey();

  /// 32 random bytes of the system.
  [[nodiscard]] static AuthKey generate();
  /// The first key of a key file. Errors: as load_all.
  [[nodiscard]] static Result<AuthKey> load(const std::string& path);
  /// All keys of a file, up to `max_keys_in_file`: the one to use, and former ones that a Listener
  /// still accepts (`former_authkeys`). Each line is "passel-key-1 " and the key in hexadecimal
  /// digits; empty lines and those that begin with # do not count. Errors: refused when anybody but
  /// its owner may read or write the file, or it belongs to neither this user nor root; not_found;
  /// malformed, naming the line but never what is in it; too_large; system.
  [[nodiscard]] static Result<std::vector<AuthKey>> load_all(const std::string& path);
  /// Makes a key file with mode 0600. Errors: refused when there is a file already;
  /// invalid_argument for an empty key; not_found (no such directory), no_space, system.
  Result<void> save(const std::string& path) const;
  static constexpr std::size_t max_keys_in_file = 8;

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }
  /// "<AuthKey of 32 bytes>": never the key.
  [[nodiscard]] std::string to_string() const;
  /// Takes the same time wherever they differ.
  friend PASSEL_API bool operator==(const AuthKey& a, const AuthKey& b) noexcept;

 private:
  void wipe() noexcept;
  std::vector<std::byte> bytes_;
};

/// The key of this process: 32 random bytes in the program itself; a child has the one that its
/// parent had when it was started. Any thread may call it. (Python: current_process().authkey)
[[nodiscard]] PASSEL_API AuthKey authkey();
/// Gives this process, and the children it starts from now on, another one. (Python:
/// current_process().authkey = key)
PASSEL_API void set_authkey(AuthKey key);

namespace detail {
/// Appends this process's key to what a child is started with.
PASSEL_API void add_authkey(std::vector<std::byte>& args);
/// Takes it off again and makes it this process's. Errors: malformed.
PASSEL_API Result<void> inherit_authkey(std::vector<std::byte>& args);
}  // namespace detail

}  // namespace passel::inline v0
