// Example: tasks and results in queues that workers on other hosts reach by address and key
// (Python: BaseManager.register('get_task_queue', callable=lambda: task_queue), then
// QueueManager(address=(host, port), authkey=b'abc').connect() elsewhere).
//
//     remote_queue_manager                          a server, a worker and a stranger on this host
//     remote_queue_manager serve PORT KEY           the server with ten tasks
//     remote_queue_manager work HOST PORT KEY       a worker; any number, anywhere
#include <passel/process.hpp>
#include <passel/runtime.hpp>
#include <passel/sync_manager.hpp>

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

namespace {

constexpr int tasks = 10;

/// The two queues, which are the same for everybody who asks. They live in the server.
struct Desk {
  explicit Desk(passel::SyncManager& manager)
      : tasks{manager.queue<int>().unwrap()}, results{manager.queue<std::string>().unwrap()} {}
  passel::QueueProxy<int> task_queue() { return tasks; }
  passel::QueueProxy<std::string> result_queue() { return results; }
  passel::QueueProxy<int> tasks;
  passel::QueueProxy<std::string> results;
};

std::optional<Desk> desk;
Desk& the_desk() { return *desk; }

passel::ManagerOptions at(const std::string& host, std::uint16_t port, const std::string& key) {
  return {.address = passel::TcpAddress{host, port}, .authkey = passel::AuthKey{key}};
}

int work(const std::string& host, std::uint16_t port, const std::string& key) {
  passel::SyncManager manager{at(host, port, key)};
  if (const auto connected = manager.connect(); !connected) {
    std::printf("refused: %s\n", std::string{to_string(connected.error().code())}.c_str());
    return 1;
  }
  const auto shared = manager.create<Desk>("Desk").unwrap();
  const auto numbers = shared.call<&Desk::task_queue>().unwrap();
  const auto squares = shared.call<&Desk::result_queue>().unwrap();
  while (const auto n = numbers.get()) {
    const std::string line =
        std::to_string(*n) + " * " + std::to_string(*n) + " = " + std::to_string(*n * *n);
    squares.put(line).unwrap();
  }
  return 0;
}

int serve(std::uint16_t port, const std::string& key, bool with_worker) {
  passel::SyncManager manager{at(with_worker ? "127.0.0.1" : "0.0.0.0", port, key)};
  manager
      .register_type<Desk, passel::factory<&the_desk>, &Desk::task_queue, &Desk::result_queue>(
          "Desk")
      .unwrap();
  auto server = manager.get_server().unwrap();
  desk.emplace(manager);
  for (int n = 0; n < tasks; ++n) desk->tasks.put(n).unwrap();
  std::optional<passel::Process> worker;
  if (with_worker) {
    const auto where = std::get<passel::TcpAddress>(server.address());
    worker = passel::Process::spawn<work>(where.host, where.port, key).unwrap();
    auto stranger = passel::Process::spawn<work>(where.host, where.port, "a guess").unwrap();
    stranger.join().unwrap();
  } else {
    std::printf("serving at %s\n", passel::to_string(server.address()).c_str());
  }
  for (int n = 0; n < tasks; ++n) std::puts(desk->results.get().unwrap().c_str());
  desk->tasks.shutdown().unwrap();
  if (worker) worker->join().unwrap();
  desk.reset();
  return 0;
}

std::uint16_t port_of(const char* text) { return static_cast<std::uint16_t>(std::atoi(text)); }

}  // namespace

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  const std::string_view role = argc > 1 ? argv[1] : "";
  if (role == "serve" && argc == 4) return serve(port_of(argv[2]), argv[3], false);
  if (role == "work" && argc == 5) return work(argv[2], port_of(argv[3]), argv[4]);
  return serve(0, "the key of this example", true);
}
