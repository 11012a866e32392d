// Layer transport: authkeys in files that only their owner can read.
#include <passel/authkey.hpp>

#include <passel/detail/descriptor.hpp>

#include "private_file.hpp"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string>
#include <string_view>

namespace passel::inline v0 {
namespace {

using detail::file_error;
using detail::SecretText;

constexpr std::string_view line_begin = "passel-key-1 ";
constexpr std::string_view digits = "0123456789abcdef";
constexpr std::size_t max_file_size = 16384;

std::optional<std::vector<std::byte>> from_digits(std::string_view text) {
  if (text.empty() || text.size() % 2 != 0) return std::nullopt;
  std::vector<std::byte> out;
  out.reserve(text.size() / 2);
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const auto high = digits.find(text[i]);
    const auto low = digits.find(text[i + 1]);
    if (high == std::string_view::npos || low == std::string_view::npos) return std::nullopt;
    out.push_back(static_cast<std::byte>(high << 4 | low));
  }
  return out;
}

Result<std::vector<AuthKey>> keys_in(std::string_view text, const std::string& path) {
  std::vector<AuthKey> keys;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.front() == '#') continue;
    auto key =
        line.starts_with(line_begin) ? from_digits(line.substr(line_begin.size())) : std::nullopt;
    if (!key) {
      return Error{Errc::malformed, "key file " + path + ", line " + std::to_string(number) +
                                        ": expected 'passel-key-1 ' and hexadecimal digits"};
    }
    keys.emplace_back(std::span<const std::byte>{*key});
    ::explicit_bzero(key->data(), key->size());
  }
  if (keys.empty()) return Error{Errc::malformed, "key file " + path + " has no key in it"};
  if (keys.size() > AuthKey::max_keys_in_file) {
    return Error{Errc::too_large, "key file " + path + " has " + std::to_string(keys.size()) +
                                      " keys, limit " + std::to_string(AuthKey::max_keys_in_file)};
  }
  return keys;
}

}  // namespace

Result<std::vector<AuthKey>> AuthKey::load_all(const std::string& path) {
  PASSEL_TRY(const SecretText secret, detail::read_private_file(path, "key file", max_file_size));
  return keys_in(secret.text, path);
}

Result<AuthKey> AuthKey::load(const std::string& path) {
  PASSEL_TRY(auto keys, load_all(path));
  return std::move(keys.front());
}

Result<void> AuthKey::save(const std::string& path) const {
  if (bytes_.empty())
    return Error{Errc::invalid_argument, "an empty authkey is not to be saved in " + path};
  constexpr std::string_view head =
      "# An authkey of passel. Whoever can read it can do all that clients may do.\n";
  SecretText secret;
  secret.text.reserve(head.size() + line_begin.size() + 2 * bytes_.size() + 1);
  secret.text.append(head).append(line_begin);
  for (const std::byte byte : bytes_) {
    const auto value = std::to_integer<unsigned>(byte);
    secret.text.push_back(digits[value >> 4]);
    secret.text.push_back(digits[value & 15U]);
  }
  secret.text.push_back('\n');
  const detail::Descriptor file{
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)};
  if (!file) return file_error("open", path, errno);
  std::string_view rest = secret.text;
  while (!rest.empty()) {
    const ssize_t count = ::write(file.get(), rest.data(), rest.size());
    if (count > 0) rest.remove_prefix(static_cast<std::size_t>(count));
    if (count >= 0 || errno == EINTR) continue;
    const int error_number = errno;
    ::unlink(path.c_str());
    return file_error("write", path, error_number);
  }
  if (::fsync(file.get()) != 0 && errno != EINVAL) return file_error("fsync", path, errno);
  return {};
}

}  // namespace passel::inline v0
