// Layer transport: files with secrets in them, which nobody but their owner may use.
#include "private_file.hpp"

#include <passel/detail/descriptor.hpp>
#include <passel/detail/wipe.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <span>
#include <string_view>

namespace passel::inline v0::detail {

SecretText::~SecretText() { wipe(std::as_writable_bytes(std::span{text})); }

Error file_error(const std::string& call, const std::string& path, int error_number) {
  const std::string what = call + "(" + path + "): " + std::strerror(error_number);
  if (error_number == ENOENT || error_number == ENOTDIR) return {Errc::not_found, what};
  if (error_number == EEXIST) return {Errc::refused, what};
  if (error_number == ENOSPC || error_number == EDQUOT) return {Errc::no_space, what};
  return system_error(call + "(" + path + ")", error_number);
}

namespace {

Result<void> check_privacy(int file, const std::string& path, const std::string& kind) {
  struct stat found {};
  if (::fstat(file, &found) != 0) return file_error("fstat", path, errno);
  if (!S_ISREG(found.st_mode)) return Error{Errc::malformed, kind + " " + path + " is no file"};
  if (found.st_uid != ::geteuid() && found.st_uid != 0) {
    return Error{Errc::refused, kind + " " + path + " belongs to user " +
                                    std::to_string(found.st_uid) + ", not to this one or root"};
  }
  if ((found.st_mode & 077U) == 0) return {};
  constexpr std::string_view digits = "01234567";
  std::string mode = "000";
  for (std::size_t i = 0; i < 3; ++i) mode[i] = digits[(found.st_mode >> (6 - 3 * i)) & 7U];
  return Error{Errc::refused, kind + " " + path + " has mode 0" + mode +
                                  ": others may use it, it has to be 0600 or 0400"};
}

}  // namespace

Result<SecretText> read_private_file(const std::string& path, const std::string& kind,
                                     std::size_t limit) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (!file) return file_error("open", path, errno);
  PASSEL_CHECK(check_privacy(file.get(), path, kind));
  SecretText secret;
  std::string& text = secret.text;
  text.resize(limit + 1);  // at once, so that no copy of it stays in freed memory
  std::size_t have = 0;
  while (have < text.size()) {
    const ssize_t count = ::read(file.get(), text.data() + have, text.size() - have);
    if (count == 0) break;
    if (count > 0) have += static_cast<std::size_t>(count);
    if (count < 0 && errno != EINTR) return file_error("read", path, errno);
  }
  if (have > limit) {
    return Error{Errc::too_large, kind + " " + path + " has more than " + std::to_string(limit) +
                                      " bytes, the limit"};
  }
  text.resize(have);
  return secret;
}

}  // namespace passel::inline v0::detail
