// Tool passel: the same tables again and again.
#include "top.hpp"

#include "reports.hpp"

#include <passel/inspect.hpp>

#include <nlohmann/json.hpp>

#include <unistd.h>
#include <iostream>
#include <thread>
#include <utility>

namespace passel_cli {

using nlohmann::json;

passel::Result<void> run_top(const TopOptions& options, bool in_colour) {
  const bool in_place = ::isatty(STDOUT_FILENO) != 0;
  for (unsigned round = 0; options.rounds == 0 || round < options.rounds; ++round) {
    if (round > 0) std::this_thread::sleep_for(options.every);
    PASSEL_TRY(passel::HostReport report, passel::inspect({.pid = options.pid}));
    // A screen is short: objects that nobody waits for or holds are left out.
    std::erase_if(report.locks, [](const passel::LockReport& lock) {
      return lock.holders.empty() && lock.waiters.empty();
    });
    if (options.json) {
      json look;
      for (const auto& [name, view] :
           {std::pair{"processes", View::processes}, std::pair{"workers", View::workers},
            std::pair{"queues", View::queues}, std::pair{"locks", View::locks}})
        look[name] = to_json(report, view);
      std::cout << look.dump(-1, ' ', false, json::error_handler_t::replace) << std::endl;
      if (!std::cout) return {};
      continue;
    }
    if (in_place) std::cout << "\x1b[H\x1b[2J";
    for (const View view : {View::processes, View::workers, View::queues, View::locks}) {
      print(std::cout, report, view, in_colour);
      std::cout << '\n';
    }
    std::cout.flush();
    if (!std::cout) return {};  // nobody reads any more
  }
  return {};
}

}  // namespace passel_cli
