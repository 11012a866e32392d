// Tool passel: `passel ping`, `call`, `get`, `put` and `unpublish`.
#include "client.hpp"

#include "output.hpp"
#include "table.hpp"
#include "wire_json.hpp"
#include "words.hpp"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <iomanip>
#include <iostream>
#include <numeric>
#include <thread>
#include <utility>

namespace passel_cli {

using nlohmann::json;
using passel::DynamicProxy;
using passel::Errc;
using passel::Error;
using passel::Result;
using passel::SyncManager;
using passel::WireValue;
using Seconds = std::chrono::duration<double>;

namespace {

constexpr std::size_t most_arguments = 6;

/// One line, so that a shell can read items one by one. Texts of other programs may be no UTF-8.
Result<void> print(const json& value) {
  std::cout << value.dump(-1, ' ', false, json::error_handler_t::replace) << '\n';
  return flush_output();
}

/// How long an answer may take that is not waited for on purpose: a moment longer, so that
/// `--timeout 0` looks into a queue, and does not give up the server that it is on.
Seconds answer_limit(const ServerOptions& options) { return Seconds{options.timeout + 1.0}; }

Result<int> ping(const ClientOptions& options) {
  PASSEL_TRY(const SyncManager manager, connect_to(options.server));
  const std::string where = passel::to_string(manager.address());
  std::vector<double> times;
  for (long n = 1; options.count == 0 || n <= options.count; ++n) {
    if (n > 1) std::this_thread::sleep_for(Seconds{options.every});
    const auto begin = std::chrono::steady_clock::now();
    PASSEL_CHECK(manager.ping_for(Seconds{options.server.timeout}));
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    times.push_back(took.count());
    if (options.json) continue;
    std::cout << "answer from " << where << ": n=" << n << " time=" << std::fixed
              << std::setprecision(3) << took.count() << " ms" << std::endl;
  }
  std::sort(times.begin(), times.end());
  const double mean =
      std::accumulate(times.begin(), times.end(), 0.0) / static_cast<double>(times.size());
  if (options.json) {
    std::cout << json{{"address", where},
                      {"answers", times.size()},
                      {"least_ms", times.front()},
                      {"mean_ms", mean},
                      {"most_ms", times.back()}}
                     .dump(2)
              << '\n';
  } else {
    std::cout << times.size() << " answers, least/mean/most " << times.front() << "/" << mean << "/"
              << times.back() << " ms\n";
  }
  return 0;
}

template <std::size_t... I>
Result<WireValue> call_with(const DynamicProxy& object, const ClientOptions& options,
                            const std::vector<WireValue>& args, std::index_sequence<I...>) {
  return object.call_for<WireValue>(Seconds{options.server.timeout}, options.method, args[I]...);
}

/// The number of arguments of a call is part of its type.
template <std::size_t... N>
Result<WireValue> call_any(const DynamicProxy& object, const ClientOptions& options,
                           const std::vector<WireValue>& args, std::index_sequence<N...>) {
  using Call = Result<WireValue> (*)(const DynamicProxy&, const ClientOptions&,
                                     const std::vector<WireValue>&);
  static constexpr std::array<Call, sizeof...(N)> calls{
      [](const DynamicProxy& of, const ClientOptions& with, const std::vector<WireValue>& values) {
        return call_with(of, with, values, std::make_index_sequence<N>{});
      }...};
  return calls[args.size()](object, options, args);
}

Result<int> call(const ClientOptions& options) {
  PASSEL_TRY(const SyncManager manager, connect_to(options.server));
  PASSEL_TRY(const DynamicProxy object,
             manager.named_for(answer_limit(options.server), options.name));
  std::vector<WireValue> args;
  for (const std::string& word : options.words) args.push_back(value_of(word));
  PASSEL_TRY(const WireValue answer,
             call_any(object, options, args, std::make_index_sequence<most_arguments + 1>{}));
  PASSEL_CHECK(print(to_json(answer)));
  return 0;
}

bool is_queue(const DynamicProxy& object) { return object.type().ends_with("Queue"); }

Result<int> list_names(const SyncManager& manager, const ClientOptions& options) {
  PASSEL_TRY(const auto names, manager.names_for(answer_limit(options.server)));
  if (options.json) {
    json out = json::object();
    for (const auto& [name, type] : names) out[name] = type;
    std::cout << out.dump(2, ' ', false, json::error_handler_t::replace) << '\n';
    return 0;
  }
  Table table{{"NAME", "TYPE"}};
  for (const auto& [name, type] : names) table.add({{name}, {type}});
  table.print(std::cout, false);
  return 0;
}

Result<int> get(const ClientOptions& options) {
  PASSEL_TRY(const SyncManager manager, connect_to(options.server));
  if (options.name.empty()) return list_names(manager, options);
  const Seconds soon = answer_limit(options.server);
  PASSEL_TRY(const DynamicProxy object, manager.named_for(soon, options.name));
  const Seconds limit{options.server.timeout};
  if (is_queue(object)) {
    if (!options.words.empty())
      return Error{Errc::invalid_argument, "a " + object.type() + " has no keys"};
    const passel::QueueProxy<WireValue> queue{object};
    PASSEL_TRY(const WireValue item, queue.get_for(limit));
    PASSEL_CHECK(print(to_json(item)));
    // Until then it is in our hands: should this process be killed before it has printed it all, or
    // nobody take it, a JoinableQueue gives it to another.
    if (object.type() == "JoinableQueue") PASSEL_CHECK(object.call_for<void>(soon, "task_done"));
    return 0;
  }
  if (options.words.empty()) {
    PASSEL_TRY(const WireValue all, object.copy_for(soon));
    PASSEL_CHECK(print(to_json(all)));
    return 0;
  }
  PASSEL_TRY(const WireValue one,
             object.call_for<WireValue>(limit, "at", value_of(options.words[0])));
  PASSEL_CHECK(print(to_json(one)));
  return 0;
}

Result<int> put(const ClientOptions& options) {
  PASSEL_TRY(const SyncManager manager, connect_to(options.server));
  const Seconds soon = answer_limit(options.server);
  auto found = manager.named_for(soon, options.name);
  const bool is_new =
      found.is_err() && found.error() == Errc::not_found && options.words.size() == 1;
  if (is_new) found = manager.get_or_create_for(soon, options.name, "Queue", 0);
  PASSEL_TRY(const DynamicProxy object, std::move(found));
  const Seconds limit{options.server.timeout};
  const WireValue value = value_of(options.words.back());
  if (options.words.size() == 2) {
    PASSEL_CHECK(object.call_for<void>(limit, "set", value_of(options.words[0]), value));
  } else if (is_queue(object)) {
    PASSEL_CHECK(passel::QueueProxy<WireValue>{object}.put_for(value, limit));
  } else {
    const std::string method = object.type() == "list" ? "append" : "set";
    PASSEL_CHECK(object.call_for<void>(limit, method, value));
  }
  if (options.json)
    PASSEL_CHECK(print(json{{"name", options.name}, {"type", object.type()}, {"new", is_new}}));
  return 0;
}

Result<int> unpublish(const ClientOptions& options) {
  PASSEL_TRY(const SyncManager manager, connect_to(options.server));
  PASSEL_CHECK(manager.unpublish(options.name));
  return 0;
}

}  // namespace

void add_server_options(CLI::App& command, ServerOptions& options) {
  command
      .add_option("--connect", options.connect, "HOST:PORT or path of the server (passel serve)")
      ->envname("PASSEL_CONNECT")
      ->required();
  add_proof_options(command, options.proof);
  command.add_option("--timeout", options.timeout, "Seconds that an answer may take")
      ->check(CLI::Range(0.0, 86'400.0))
      ->capture_default_str();
}

Result<SyncManager> connect_to(const ServerOptions& options) {
  PASSEL_TRY(auto settings, manager_at(options.connect, options.proof));
  SyncManager manager{std::move(settings)};
  PASSEL_CHECK(manager.connect_for(answer_limit(options)));
  return manager;
}

void add_client_commands(CLI::App& app, ClientCommands& commands, const Run& run) {
  const auto add = [&](const char* name, const char* help, ClientOptions& options,
                       Result<int> (*command)(const ClientOptions&)) {
    CLI::App* const added = app.add_subcommand(name, help);
    add_server_options(*added, options.server);
    added->callback([&options, run, command, added] {
      settle_server(*added, options.server.connect, options.server.proof);
      run([&] { return command(options); });
    });
    return added;
  };
  CLI::App* const pings =
      add("ping", "Whether a server answers, and how fast", commands.ping, ping);
  pings->add_option("--count", commands.ping.count, "How often (0: until interrupted)")
      ->check(CLI::Range(0L, 1'000'000'000L))
      ->capture_default_str();
  pings->add_option("--every", commands.ping.every, "Seconds between two")
      ->check(CLI::Range(0.0, 3600.0))
      ->capture_default_str();
  pings->add_flag("--json", commands.ping.json, "JSON in place of lines");

  CLI::App* const calls =
      add("call", "Calls a method of what is published under a name", commands.call, call);
  calls->add_option("NAME", commands.call.name, "The object")->required();
  calls->add_option("METHOD", commands.call.method, "One of its methods")->required();
  add_words(*calls, "ARGUMENT", commands.call.words, "Arguments, as JSON or as text",
            most_arguments);

  CLI::App* const gets =
      add("get", "Takes an item of a queue, or shows what is published under a name", commands.get,
          get);
  gets->add_option("NAME", commands.get.name, "The object; without it the names that there are");
  add_words(*gets, "KEY", commands.get.words, "Of a dict or a list: which item", 1);
  gets->add_flag("--json", commands.get.json, "Names as JSON in place of a table");

  CLI::App* const puts =
      add("put", "Puts an item into a queue, which is made if need be, a list, a dict or a Value",
          commands.put, put);
  puts->add_option("NAME", commands.put.name, "The object")->required();
  add_words(*puts, "VALUE", commands.put.words, "[KEY] VALUE, as JSON or as text", 2)->required();
  puts->add_flag("--json", commands.put.json, "Says where it went, as JSON");

  CLI::App* const unpublishes =
      add("unpublish", "Gives up a name; the object goes when no program has it any more",
          commands.unpublish, unpublish);
  unpublishes->add_option("NAME", commands.unpublish.name, "The object")->required();
}

}  // namespace passel_cli
