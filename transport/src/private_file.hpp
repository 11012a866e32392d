// Layer transport: files with secrets in them, which nobody but their owner may use.
#pragma once

#include <passel/result.hpp>

#include <cstddef>
#include <string>

namespace passel::inline v0::detail {

/// Text with secrets in it, which is wiped when it goes.
struct SecretText {
  std::string text;
  SecretText() = default;
  SecretText(const SecretText&) = delete;
  SecretText& operator=(const SecretText&) = delete;
  SecretText(SecretText&& other) noexcept { text.swap(other.text); }
  SecretText& operator=(SecretText&&) = delete;
  ~SecretText();
};

/// What a call said of a file: not_found, refused (it is there already), no_space, or else system.
[[nodiscard]] Error file_error(const std::string& call, const std::string& path, int error_number);

/// All of a file that belongs to this user or root, and that no other may read or write; `kind`
/// ("key file") is what errors call it. Errors: refused naming owner or mode, not_found, malformed
/// for what is no file, too_large over `limit` bytes, no_space, system.
[[nodiscard]] Result<SecretText> read_private_file(const std::string& path, const std::string& kind,
                                                   std::size_t limit);

}  // namespace passel::inline v0::detail
