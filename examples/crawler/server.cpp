// Example crawler: cpp-httplib serving a directory.
#include "server.hpp"

#include <httplib.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <thread>
#include <utility>

namespace crawler {

using passel::Errc;
using passel::Error;
using passel::Result;

struct DemoServer::Running {
  httplib::Server http;
  int port = 0;
  std::thread thread;
};

DemoServer::DemoServer(std::unique_ptr<Running> running) : running_{std::move(running)} {}

Result<std::unique_ptr<DemoServer>> DemoServer::start(const std::string& directory, int port,
                                                      std::size_t clients) {
  std::error_code problem;
  const std::filesystem::directory_iterator readable{directory, problem};
  if (problem) {
    return Error{Errc::not_found, "cannot read directory " + directory + ": " + problem.message()};
  }
  auto running = std::make_unique<Running>();
  httplib::Server& http = running->http;
  http.set_mount_point("/", directory);
  // One thread of the server belongs to one connection as long as that is open.
  http.new_task_queue = [clients] { return new httplib::ThreadPool(clients + 2); };
  http.set_keep_alive_max_count(100000);
  http.set_keep_alive_timeout(2);
  http.set_tcp_nodelay(true);
  // Without SO_REUSEPORT, httplib's default, which would let two servers share a port without a
  // word.
  http.set_socket_options([](socket_t socket) {
    const int yes = 1;
    ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  });
  if (port == 0) {
    running->port = http.bind_to_any_port("127.0.0.1");
  } else {
    running->port = http.bind_to_port("127.0.0.1", port) ? port : -1;
  }
  if (running->port < 0) {
    return Error{Errc::refused, "cannot listen at 127.0.0.1:" + std::to_string(port) + ": " +
                                    std::strerror(errno)};
  }
  running->thread = std::thread{[&http] { http.listen_after_bind(); }};
  while (!http.is_running()) std::this_thread::yield();
  return std::unique_ptr<DemoServer>{new DemoServer{std::move(running)}};
}

DemoServer::~DemoServer() {
  running_->http.stop();
  running_->thread.join();
}

std::string DemoServer::url() const {
  return "http://127.0.0.1:" + std::to_string(running_->port) + "/";
}

}  // namespace crawler
