// Example: tasks and results in queues that workers on other hosts reach by address and key
// (Python: BaseManager.register('get_task_queue', callable=lambda: task_queue), then
// QueueManager(address=(host, port), authkey=b'abc').connect() elsewhere).
//
//     remote_queue_manager                          a server, a worker and a stranger on this host
//     remote_queue_manager serve PORT KEYFILE       the server with ten tasks
//     remote_queue_manager work HOST PORT KEYFILE   a worker; any number, anywhere
//
// The key is in a file that its owner alone can read (passel keygen): arguments are for all to see.
#include <passel/process.hpp>
#include <passel/runtime.hpp>
#include <passel/sync_manager.hpp>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
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

passel::ManagerOptions at(const std::string& host, std::uint16_t port,
                          const std::string& key_file) {
  return {.address = passel::TcpAddress{host, port},
          .authkey = passel::AuthKey::load(key_file).unwrap()};
}

int work(const std::string& host, std::uint16_t port, const std::string& key_file) {
  passel::SyncManager manager{at(host, port, key_file)};
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

/// With a stranger's key there are a worker and a stranger, too, and only this host is served.
int serve(std::uint16_t port, const std::string& key_file,
          const std::optional<std::string>& other_key_file = {}) {
  passel::SyncManager manager{at(other_key_file ? "127.0.0.1" : "0.0.0.0", port, key_file)};
  manager
      .register_type<Desk, passel::factory<&the_desk>, &Desk::task_queue, &Desk::result_queue>(
          "Desk")
      .unwrap();
  auto server = manager.get_server().unwrap();
  desk.emplace(manager);
  for (int n = 0; n < tasks; ++n) desk->tasks.put(n).unwrap();
  std::optional<passel::Process> worker;
  if (other_key_file) {
    const auto where = std::get<passel::TcpAddress>(server.address());
    worker = passel::Process::spawn<work>(where.host, where.port, key_file).unwrap();
    auto stranger = passel::Process::spawn<work>(where.host, where.port, *other_key_file).unwrap();
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

int show() {
  std::string folder = (std::filesystem::temp_directory_path() / "passel-example-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) return 1;
  passel::AuthKey::generate().save(folder + "/key").unwrap();
  passel::AuthKey::generate().save(folder + "/another").unwrap();
  const int code = serve(0, folder + "/key", folder + "/another");
  std::filesystem::remove_all(folder);
  return code;
}

std::uint16_t port_of(const char* text) { return static_cast<std::uint16_t>(std::atoi(text)); }

}  // namespace

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  const std::string_view role = argc > 1 ? argv[1] : "";
  if (role == "serve" && argc == 4) return serve(port_of(argv[2]), argv[3]);
  if (role == "work" && argc == 5) return work(argv[2], port_of(argv[3]), argv[4]);
  return show();
}
