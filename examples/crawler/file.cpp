// Example crawler: line files by plain system calls, because fsync is the point.
#include "file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace crawler {
namespace {

passel::Error file_error(const char* what, const std::string& path) {
  return {passel::Errc::system,
          std::string{"cannot "} + what + " " + path + ": " + std::strerror(errno)};
}

}  // namespace

passel::Result<LineFile> LineFile::open(const std::string& path, Open how) {
  if (path == "-") return LineFile{path, ::dup(STDOUT_FILENO)};
  const int mode = how == Open::fresh ? O_TRUNC : 0;
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | mode, 0644);
  if (fd < 0) return file_error("open", path);
  LineFile file{path, fd};
  if (how == Open::resume) PASSEL_CHECK(file.read_lines());
  return file;
}

LineFile::~LineFile() {
  if (fd_ >= 0) ::close(fd_);
}

passel::Result<void> LineFile::read_lines() {
  std::string text;
  std::array<char, 65536> buffer;
  while (true) {
    const ssize_t got = ::read(fd_, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return file_error("read", path_);
    if (got == 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  std::size_t begin = 0;
  for (std::size_t end = text.find('\n'); end != text.npos; end = text.find('\n', begin)) {
    lines_.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  // What is behind the last line break was being written when its writer died.
  if (::ftruncate(fd_, static_cast<off_t>(begin)) != 0 && errno != EINVAL) {
    return file_error("truncate", path_);
  }
  if (::lseek(fd_, 0, SEEK_END) < 0 && errno != ESPIPE) return file_error("seek in", path_);
  return {};
}

passel::Result<void> LineFile::flush() {
  std::string_view left = pending_;
  while (!left.empty()) {
    const ssize_t put = ::write(fd_, left.data(), left.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return file_error("write to", path_);
    left.remove_prefix(static_cast<std::size_t>(put));
  }
  pending_.clear();
  return {};
}

passel::Result<void> LineFile::commit() {
  PASSEL_CHECK(flush());
  // Pipes and terminals cannot be synced, and need not be.
  if (::fdatasync(fd_) != 0 && errno != EINVAL && errno != EROFS) return file_error("sync", path_);
  return {};
}

}  // namespace crawler
