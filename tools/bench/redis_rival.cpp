// Tools: a Redis server at a Unix socket, and what a client of it says, for comparison.
#include "redis_rival.hpp"

#include "raw_peer.hpp"

#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <thread>

namespace bench {
namespace {

constexpr std::chrono::milliseconds pause{5};
constexpr int most_pauses = 2000;

/// -1 when nobody is there.
int connected(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
  close(fd);
  return -1;
}

}  // namespace

std::string redis_missing() {
  const char* const path = std::getenv("PATH");
  std::string_view rest = path != nullptr ? path : "";
  while (!rest.empty()) {
    const std::size_t end = rest.find(':');
    const std::string file = std::string{rest.substr(0, end)} + "/redis-server";
    if (access(file.c_str(), X_OK) == 0) return {};
    rest.remove_prefix(end == rest.npos ? rest.size() : end + 1);
  }
  return "redis-server is not installed";
}

RedisServer::RedisServer() {
  std::string name = (std::filesystem::temp_directory_path() / "passel-bench-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error{"mkdtemp(" + name + ")"};
  directory_ = name;
  path_ = name + "/redis";
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", path_.c_str(), "--save",
           "", "--appendonly", "no", "--logfile", "/dev/null", "--dir", directory_.c_str(),
           static_cast<char*>(nullptr));
    _exit(127);
  }
  for (int n = 0; n < most_pauses; ++n) {
    if (const int fd = connected(path_); fd >= 0) {
      close(fd);
      return;
    }
    std::this_thread::sleep_for(pause);
  }
  throw std::runtime_error{"redis-server does not listen at " + path_};
}

RedisServer::~RedisServer() {
  kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

RedisLine::RedisLine(const std::string& path) : fd_{connected(path)} {
  if (fd_ < 0) throw std::runtime_error{"no Redis at " + path};
}
RedisLine::~RedisLine() { close(fd_); }

void RedisLine::add(std::initializer_list<std::string_view> words) {
  out_ += "*" + std::to_string(words.size()) + "\r\n";
  for (const std::string_view word : words)
    ((out_ += "$" + std::to_string(word.size()) + "\r\n") += word) += "\r\n";
}

void RedisLine::send() {
  if (!write_all(fd_, out_.data(), out_.size())) throw std::runtime_error{"Redis is gone"};
  out_.clear();
}

void RedisLine::fill() {
  if (at_ == in_.size()) {
    in_.clear();
    at_ = 0;
  }
  const std::size_t had = in_.size();
  in_.resize(had + (std::size_t{64} << 10));
  const ssize_t got = read(fd_, in_.data() + had, in_.size() - had);
  if (got <= 0) throw std::runtime_error{"Redis is gone"};
  in_.resize(had + static_cast<std::size_t>(got));
}

std::string_view RedisLine::line() {
  std::size_t end = in_.find("\r\n", at_);
  while (end == in_.npos) {
    fill();
    end = in_.find("\r\n", at_);
  }
  const std::string_view found{in_.data() + at_, end - at_};
  at_ = end + 2;
  return found;
}

std::size_t RedisLine::receive() {
  const std::string_view head = line();
  if (head.front() == '-') throw std::runtime_error{std::string{head}};
  if (head.front() != '$' && head.front() != '*') return head.size();
  long size = 0;
  const char type = head.front();
  std::from_chars(head.data() + 1, head.data() + head.size(), size);
  if (size < 0) return 0;
  const auto count = static_cast<std::size_t>(size);
  if (type == '*') {
    for (std::size_t i = 0; i < count; ++i) receive();
    return count;
  }
  while (in_.size() - at_ < count + 2) fill();
  at_ += count + 2;
  return count;
}

}  // namespace bench
