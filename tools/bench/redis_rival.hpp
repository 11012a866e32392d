// Tools: a Redis server at a Unix socket, and what a client of it says, for comparison.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>

namespace bench {

/// Empty when a redis-server can be started here, else why not.
[[nodiscard]] std::string redis_missing();

/// A server of its own that keeps nothing on the disk. The destructor ends it. Throws when it does
/// not start.
class RedisServer {
 public:
  RedisServer();
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;
  ~RedisServer();
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  std::string directory_;
  std::string path_;
  pid_t pid_ = -1;
};

/// A connection. Throws when it breaks or the server answers with an error.
class RedisLine {
 public:
  explicit RedisLine(const std::string& path);
  RedisLine(const RedisLine&) = delete;
  RedisLine& operator=(const RedisLine&) = delete;
  ~RedisLine();

  /// Collects a command.
  void add(std::initializer_list<std::string_view> words);
  /// Sends what was collected.
  void send();
  /// Reads one answer; how many items a list has, else how many bytes came.
  std::size_t receive();
  std::size_t ask(std::initializer_list<std::string_view> words) {
    add(words);
    send();
    return receive();
  }

 private:
  std::string_view line();
  void fill();

  int fd_ = -1;
  std::string out_;
  std::string in_;
  std::size_t at_ = 0;
};

}  // namespace bench
