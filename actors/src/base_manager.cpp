// Layer actors: BaseManager: starting and ending servers of hosted objects.
#include <passel/base_manager.hpp>

#include <passel/detail/child.hpp>
#include <passel/detail/futex.hpp>
#include <passel/detail/proxy_core.hpp>
#include <passel/detail/wipe.hpp>
#include <passel/finalize.hpp>
#include <passel/pipe.hpp>

#include "manager_core.hpp"
#include "manager_links.hpp"

#include <atomic>
#include <csignal>
#include <limits>
#include <mutex>
#include <utility>
#include <vector>

namespace passel::inline v0 {
namespace detail {
namespace {

struct PlannedRole {
  std::string name;
  std::vector<std::byte> key;
  std::map<std::string, std::vector<std::string>> types;
};

/// What the server process is told.
struct ManagerPlan {
  std::variant<std::pair<std::string, std::uint16_t>, std::string> address;
  std::vector<std::byte> key;
  std::vector<std::vector<std::byte>> former_keys;
  std::optional<Certificates> certificates;
  std::vector<std::pair<std::string, std::pair<std::uint32_t, std::uint64_t>>> types;
  std::optional<std::pair<std::uint32_t, std::uint64_t>> initializer;
  std::vector<std::byte> initializer_args;
  std::chrono::milliseconds silence{};
  ManagerLimits limits{};
  std::vector<PlannedRole> roles{};
};

void wipe_keys(ManagerPlan& plan) {
  wipe(plan.key);
  for (auto& key : plan.former_keys) wipe(key);
  for (PlannedRole& role : plan.roles) wipe(role.key);
}

/// What it answers: where it is, and which life of the server there.
struct ManagerReady {
  std::string host;
  std::uint16_t port = 0;
  std::uint64_t epoch = 0;
};

std::pair<std::uint32_t, std::uint64_t> plain(TaskId id) { return {id.module, id.offset}; }
TaskId task_id(const std::pair<std::uint32_t, std::uint64_t>& id) {
  return {.module = id.first, .offset = id.second};
}

Result<std::shared_ptr<ManagerCore>> open_planned(const ManagerPlan& plan, DescriptorSpan passed) {
  if (plan.initializer) {
    PASSEL_TRY(const TaskFunction run, find_task(task_id(*plan.initializer)));
    if (auto done = run(plan.initializer_args, passed); !done) return done.error();
  }
  ManagerCoreOptions options;
  if (const auto* path = std::get_if<std::string>(&plan.address)) {
    options.address = UnixAddress{*path};
  } else {
    const auto& [host, port] = std::get<0>(plan.address);
    options.address = TcpAddress{host, port};
  }
  options.authkey = AuthKey{plan.key};
  for (const auto& key : plan.former_keys) options.former_authkeys.emplace_back(key);
  options.certificates = plan.certificates;
  options.silence = plan.silence;
  options.limits = plan.limits;
  for (const PlannedRole& role : plan.roles)
    options.roles.push_back({role.name, AuthKey{role.key}, role.types});
  for (const auto& [name, id] : plan.types) {
    PASSEL_TRY(const HostedMaker maker, find_hosted_factory(task_id(id)));
    options.types.emplace(name, maker);
  }
  PASSEL_TRY(IoLoop* const loop, runtime_io());
  return ManagerCore::open(*loop, std::move(options));
}

/// The main function of a server process. Ends when its starter says so or lets go.
Result<Encoded> run_manager(std::span<const std::byte> args,
                            std::span<const std::shared_ptr<Descriptor>> descriptors) {
  if (descriptors.empty()) return Error{Errc::malformed, "a manager without a line to its starter"};
  auto read = decode_pack<Connection, ManagerPlan>(args, descriptors.first(1));
  if (!read) return read.error();
  auto& [line, plan] = *read;
  auto core = open_planned(plan, descriptors.subspan(1));
  wipe_keys(plan);
  if (!core) {
    // Whoever starts it tells of the failure.
    static_cast<void>(line.send(Result<ManagerReady>{core.error()}).is_ok());
    return Encoded{};
  }
  ManagerReady ready;
  ready.epoch = (*core)->epoch();
  if (const auto* tcp = std::get_if<TcpAddress>(&(*core)->address())) {
    ready.host = tcp->host;
    ready.port = tcp->port;
  } else {
    ready.host = std::get<UnixAddress>((*core)->address()).path;
  }
  PASSEL_CHECK(line.send(Result<ManagerReady>{ready}));
  static_cast<void>(line.recv<bool>().is_ok());
  (*core)->close();
  return Encoded{};
}

const TaskNode manager_node{&run_manager};

/// Why there can be no such manager.
std::optional<Error> misuse_of(const ManagerOptions& options) {
  constexpr std::chrono::milliseconds longest = std::chrono::hours{24};
  for (const auto& [time, name] : {std::pair{options.silence, "silence"},
                                   std::pair{options.shutdown_timeout, "shutdown_timeout"}}) {
    if (time.count() < 0 || time > longest)
      return Error{Errc::invalid_argument, std::string{name} + " of " +
                                               std::to_string(time.count()) + " ms: 0 to " +
                                               std::to_string(longest.count())};
  }
  if (!options.certificates) return std::nullopt;
  if (options.authkey || !options.former_authkeys.empty()) {
    return Error{Errc::invalid_argument, "an authkey and certificates are given for " +
                                             to_string(options.address) +
                                             ": certificates are instead of a key"};
  }
  if (std::holds_alternative<UnixAddress>(options.address)) {
    return Error{Errc::invalid_argument, "certificates are for TCP, not for the Unix socket '" +
                                             to_string(options.address) +
                                             "': there one proves the authkey"};
  }
  return std::nullopt;
}

}  // namespace
}  // namespace detail

using detail::Deadline;

/// The server in this process, and whoever waits for its end.
class ManagerServer::Body {
 public:
  explicit Body(std::shared_ptr<detail::ManagerCore> core) : core_{std::move(core)} {}
  ~Body() { end_.cancel(); }

  void end_with_runtime(const std::shared_ptr<Body>& self) {
    end_ = Finalizer::add([weak = std::weak_ptr{self}] {
      if (const auto body = weak.lock()) body->close();
    });
  }
  void close() {
    stop();
    std::shared_ptr<detail::ManagerCore> core;
    {
      const std::lock_guard lock{mutex_};
      core = std::exchange(core_, nullptr);
      if (core) address_ = core->address();
    }
    if (core) core->close();
  }
  void stop() noexcept {
    stopped_.store(1);
    detail::futex_wake(stopped_, std::numeric_limits<int>::max(), detail::FutexScope::process);
  }
  bool wait(Deadline deadline) {
    while (stopped_.load() == 0 && !deadline.passed())
      detail::futex_wait(stopped_, 0, deadline, detail::FutexScope::process);
    return stopped_.load() != 0;
  }
  [[nodiscard]] Address address() const {
    const std::lock_guard lock{mutex_};
    return core_ ? core_->address() : address_;
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<detail::ManagerCore> core_;
  Address address_;
  Finalizer end_;
  std::atomic<std::uint32_t> stopped_{0};
};

ManagerServer::ManagerServer(std::shared_ptr<Body> body) noexcept : body_{std::move(body)} {}
ManagerServer::ManagerServer(ManagerServer&&) noexcept = default;
ManagerServer& ManagerServer::operator=(ManagerServer&& other) noexcept {
  if (this != &other) {
    if (body_) body_->close();
    body_ = std::move(other.body_);
  }
  return *this;
}
ManagerServer::~ManagerServer() {
  if (body_) body_->close();
}
void ManagerServer::serve_forever() { serve_until(Deadline::never()); }
bool ManagerServer::serve_until(Deadline deadline) { return !body_ || body_->wait(deadline); }
void ManagerServer::stop() noexcept {
  if (body_) body_->stop();
}
Address ManagerServer::address() const { return body_ ? body_->address() : Address{}; }

/// What a manager knows, shared with what ends it at the end of the Runtime.
struct BaseManager::State {
  enum class Phase { fresh, started, serving, connected, ended };

  explicit State(ManagerOptions given)
      : options{std::move(given)}, address{options.address}, misuse{detail::misuse_of(options)} {
    if (!options.authkey) options.authkey = authkey();
  }
  [[nodiscard]] const AuthKey& key() const noexcept { return *options.authkey; }
  [[nodiscard]] detail::ManagerProof proof() const { return {key(), options.certificates}; }

  [[nodiscard]] Error wrong_phase() const {
    switch (phase) {
      case Phase::started: return {Errc::invalid_state, "already started server"};
      case Phase::serving: return {Errc::invalid_state, "the server runs in this process already"};
      case Phase::connected: return {Errc::invalid_state, "connected to a server already"};
      case Phase::ended: return {Errc::invalid_state, "manager has shut down"};
      case Phase::fresh: break;
    }
    return {Errc::invalid_state, "server not yet started"};
  }

  /// Whether it can be started or connected.
  [[nodiscard]] Result<void> check_fresh() const {
    if (phase != Phase::fresh) return wrong_phase();
    if (misuse) return *misuse;
    return {};
  }

  Result<void> shutdown() {
    if (phase == Phase::ended) return {};
    if (phase != Phase::started)
      return Error{Errc::invalid_state,
                   "only who started a server can shut it down: " + wrong_phase().what()};
    phase = Phase::ended;
    at_end.cancel();
    detail::leave_manager(address, epoch);
    detail::forget_manager_key(address, proof());
    // The server sees the end of the line.
    line.close();
    for (const int signal : {SIGTERM, SIGKILL}) {
      if (child->wait(Deadline::after(options.shutdown_timeout))) return {};
      static_cast<void>(child->signal(signal).is_ok());
    }
    static_cast<void>(child->wait(Deadline::never()).is_ok());
    return {};
  }

  ManagerOptions options;
  Address address;
  std::optional<Error> misuse;  ///< why these options cannot be
  std::uint64_t epoch = 0;      ///< of the server that was started
  Phase phase = Phase::fresh;
  std::map<std::string, detail::ManagerType> types;
  std::shared_ptr<detail::Child> child;
  Connection line;
  Finalizer at_end;
};

BaseManager::BaseManager(ManagerOptions options)
    : state_{std::make_shared<State>(std::move(options))} {}
BaseManager::BaseManager(BaseManager&&) noexcept = default;
BaseManager& BaseManager::operator=(BaseManager&& other) noexcept {
  if (this != &other) {
    if (state_ && state_->phase == State::Phase::started)
      static_cast<void>(state_->shutdown().is_ok());
    state_ = std::move(other.state_);
  }
  return *this;
}
BaseManager::~BaseManager() {
  if (state_ && state_->phase == State::Phase::started)
    static_cast<void>(state_->shutdown().is_ok());
}

Result<void> BaseManager::check_not_begun() const {
  if (state_->phase != State::Phase::fresh) return state_->wrong_phase();
  return {};
}

Result<void> BaseManager::add_type(std::string name, detail::ManagerType type) {
  PASSEL_CHECK(check_not_begun());
  PASSEL_CHECK(detail::check_manager_name(name, "a type"));
  if (!state_->types.emplace(name, type).second)
    return Error{Errc::invalid_argument, "type '" + name + "' is registered already"};
  return {};
}

Result<void> BaseManager::start_server(std::optional<detail::ManagerInitializer> initializer) {
  using namespace detail;
  PASSEL_CHECK(state_->check_fresh());
  ManagerPlan plan;
  if (const auto* tcp = std::get_if<TcpAddress>(&state_->address)) {
    plan.address = std::pair{tcp->host, tcp->port};
  } else {
    plan.address = std::get<UnixAddress>(state_->address).path;
  }
  const auto key = state_->key().bytes();
  plan.key.assign(key.begin(), key.end());
  for (const AuthKey& former : state_->options.former_authkeys)
    plan.former_keys.emplace_back(former.bytes().begin(), former.bytes().end());
  plan.certificates = state_->options.certificates;
  plan.silence = state_->options.silence;
  plan.limits = state_->options.limits;
  for (const ManagerRole& role : state_->options.roles) {
    const auto bytes = role.authkey.bytes();
    plan.roles.push_back({role.name, {bytes.begin(), bytes.end()}, role.types});
  }
  for (const auto& [name, type] : state_->types) plan.types.emplace_back(name, plain(type.task));
  if (initializer) {
    plan.initializer = plain(initializer->task);
    plan.initializer_args = initializer->args.bytes;
  }
  PASSEL_TRY(Pipe pipe, Pipe::create());
  PASSEL_TRY(Encoded args, encode_pack(pipe.second, plan));
  wipe_keys(plan);
  if (initializer) {
    auto& passed = initializer->args;
    args.descriptors.insert(args.descriptors.end(), passed.descriptors.begin(),
                            passed.descriptors.end());
    args.objects.insert(args.objects.end(), passed.objects.begin(), passed.objects.end());
  }
  PASSEL_TRY(const auto child, start_child(ProcessSpec{.name = state_->options.name,
                                                       .task = id_of_task(manager_node.function),
                                                       .ignore_interrupt = true,
                                                       .args = std::move(args)}));
  pipe.second.close();
  auto ready = pipe.first.recv<Result<ManagerReady>>();
  if (!ready || !*ready) {
    static_cast<void>(child->wait(Deadline::never()).is_ok());
    if (ready) return ready->error();
    return Error{Errc::peer_lost, "the server ended before it served: " + ready.error().what()};
  }
  if (auto* tcp = std::get_if<TcpAddress>(&state_->address)) {
    *tcp = {(*ready)->host, (*ready)->port};
  } else {
    state_->address = UnixAddress{(*ready)->host};
  }
  forget_former_manager(state_->address);
  set_manager_key(state_->address, state_->proof());
  state_->epoch = (*ready)->epoch;
  state_->child = child;
  state_->line = std::move(pipe.first);
  state_->phase = State::Phase::started;
  state_->at_end = Finalizer::add([weak = std::weak_ptr{state_}] {
    if (const auto state = weak.lock()) static_cast<void>(state->shutdown().is_ok());
  });
  return {};
}

Result<void> BaseManager::connect_until(Deadline deadline) {
  PASSEL_CHECK(state_->check_fresh());
  PASSEL_CHECK(detail::join_manager(state_->address, state_->proof(), deadline));
  state_->phase = State::Phase::connected;
  return {};
}

Result<ManagerServer> BaseManager::get_server() {
  PASSEL_CHECK(state_->check_fresh());
  PASSEL_TRY(detail::IoLoop* const loop, detail::runtime_io());
  detail::ManagerCoreOptions options;
  options.address = state_->address;
  options.authkey = state_->options.authkey;
  options.certificates = state_->options.certificates;
  options.name = state_->options.name;
  options.silence = state_->options.silence;
  options.limits = state_->options.limits;
  options.former_authkeys = state_->options.former_authkeys;
  options.roles = state_->options.roles;
  for (const auto& [name, type] : state_->types) options.types.emplace(name, type.maker);
  PASSEL_TRY(auto core, detail::ManagerCore::open(*loop, std::move(options)));
  state_->address = core->address();
  detail::forget_former_manager(state_->address);
  detail::set_manager_key(state_->address, state_->proof());
  state_->phase = State::Phase::serving;
  auto body = std::make_shared<ManagerServer::Body>(std::move(core));
  body->end_with_runtime(body);
  return ManagerServer{std::move(body)};
}

Result<void> BaseManager::shutdown() { return state_->shutdown(); }

Result<void> BaseManager::join() { return join_until(Deadline::never()); }
Result<void> BaseManager::join_until(Deadline deadline) {
  if (!state_->child) return state_->wrong_phase();
  return state_->child->wait(deadline).map([](detail::ExitStatus) {});
}

std::optional<int> BaseManager::exitcode() const {
  if (!state_->child) return std::nullopt;
  const auto status = state_->child->exit_status();
  if (!status) return std::nullopt;
  return status->exitcode();
}
std::optional<int> BaseManager::pid() const {
  if (!state_->child) return std::nullopt;
  return state_->child->id().pid;
}
Address BaseManager::address() const { return state_->address; }

Result<DynamicProxy> BaseManager::create_encoded(std::string_view type,
                                                 Result<detail::Encoded> args) const {
  if (state_->phase == State::Phase::fresh || state_->phase == State::Phase::ended)
    return state_->wrong_phase();
  if (!args) return args.error();
  PASSEL_TRY(auto core, detail::ProxyCore::create(state_->address, type, *std::move(args)));
  return DynamicProxy{std::move(core)};
}

template <class R>
Result<R> BaseManager::ask(std::string_view what, Result<detail::Encoded> args,
                           Deadline deadline) const {
  if (state_->phase == State::Phase::fresh || state_->phase == State::Phase::ended)
    return state_->wrong_phase();
  PASSEL_TRY(const auto link, detail::link_to_manager(state_->address, deadline));
  if (!args) return args.error();
  return detail::decode_reply<R>(link->call({0, what, *std::move(args), deadline}));
}

Result<void> BaseManager::ping_until(Deadline deadline) const {
  return ask<void>("ping", detail::encode_pack(), deadline);
}

Result<void> BaseManager::publish(std::string_view name, const DynamicProxy& object) const {
  PASSEL_CHECK(detail::check_manager_name(name, "an object"));
  return ask<void>("publish", detail::encode_pack(name, object));
}

Result<void> BaseManager::unpublish(std::string_view name) const {
  return ask<void>("unpublish", detail::encode_pack(name));
}

Result<DynamicProxy> BaseManager::named_object(std::string_view name, Deadline deadline) const {
  return ask<DynamicProxy>("named", detail::encode_pack(name), deadline);
}

Result<DynamicProxy> BaseManager::get_or_create_encoded(std::string_view name,
                                                        std::string_view type,
                                                        Result<detail::Encoded> args,
                                                        Deadline deadline) const {
  PASSEL_CHECK(detail::check_manager_name(name, "an object"));
  std::string method{detail::get_or_create_prefix};
  method.append(name).append("\n").append(type);
  return ask<DynamicProxy>(method, std::move(args), deadline);
}

Result<std::vector<std::pair<std::string, std::string>>> BaseManager::names_until(
    Deadline deadline) const {
  return ask<std::vector<std::pair<std::string, std::string>>>("names", detail::encode_pack(),
                                                               deadline);
}

Result<std::size_t> BaseManager::number_of_objects() const {
  return ask<std::size_t>("number_of_objects");
}
Result<std::string> BaseManager::debug_info() const { return ask<std::string>("debug_info"); }
Result<std::vector<std::string>> BaseManager::types() const {
  return ask<std::vector<std::string>>("types");
}

}  // namespace passel::inline v0
