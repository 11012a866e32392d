// Example crawler: a web server of one's own, so that a crawl needs no network.
#pragma once

#include <passel/result.hpp>

#include <cstddef>
#include <memory>
#include <string>

namespace crawler {

/// Serves a directory on loopback while it lives.
class DemoServer {
 public:
  /// Serves `directory` at `port`, 0 for a free one, to at most `clients` connections at a time.
  /// Errors: not_found when the directory cannot be read, refused when the port is in use.
  static passel::Result<std::unique_ptr<DemoServer>> start(const std::string& directory, int port,
                                                           std::size_t clients);
  DemoServer(const DemoServer&) = delete;
  DemoServer& operator=(const DemoServer&) = delete;
  /// Stops and waits for the answers that are under way.
  ~DemoServer();

  /// "http://127.0.0.1:8000/"
  [[nodiscard]] std::string url() const;

 private:
  struct Running;
  explicit DemoServer(std::unique_ptr<Running> running);
  std::unique_ptr<Running> running_;
};

}  // namespace crawler
