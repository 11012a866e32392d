// Layer actors: BaseManager: objects that live in a server process and are used from others.
#pragma once

#include <passel/authkey.hpp>
#include <passel/codec.hpp>
#include <passel/detail/hosted_result.hpp>
#include <passel/detail/task.hpp>
#include <passel/expose.hpp>
#include <passel/listener.hpp>
#include <passel/manager_options.hpp>
#include <passel/proxy.hpp>
#include <passel/result.hpp>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace passel::inline v0 {

namespace detail {

class ManagerCore;

/// A type as another process of this build finds it.
struct ManagerType {
  TaskId task;
  HostedMaker maker{};
};

/// What runs in the server first.
struct ManagerInitializer {
  TaskId task;
  Encoded args;
};

}  // namespace detail

/// The server of a manager in the calling process (Python's Server, of get_server).
///
///     auto server = manager.get_server().unwrap();
///     tell_clients(server.address());
///     server.serve_forever();                  // until stop(), from another thread or a method
///
/// It serves from the moment it is made; serve_forever only waits. Move-only; the destructor ends
/// it: clients get peer_lost. Any thread may call stop.
class PASSEL_API ManagerServer {
 public:
  class Body;
  explicit ManagerServer(std::shared_ptr<Body> body) noexcept;
  ManagerServer(ManagerServer&&) noexcept;
  ManagerServer& operator=(ManagerServer&& other) noexcept;
  ~ManagerServer();

  /// Waits until stop() is called.
  void serve_forever();
  /// The same, at most so long: false when it was not stopped.
  template <class Rep, class Period>
  bool serve_for(std::chrono::duration<Rep, Period> limit) {
    return serve_until(detail::Deadline::after(limit));
  }
  /// Lets serve_forever return. Idempotent.
  void stop() noexcept;
  [[nodiscard]] Address address() const;

 private:
  bool serve_until(detail::Deadline deadline);
  std::shared_ptr<Body> body_;
};

/// Objects in a server process, used by any number of others through proxies (Python's
/// multiprocessing.managers.BaseManager).
///
///     struct Counter {
///       int add(int n) { return total += n; }
///       int total = 0;
///     };
///     passel::BaseManager manager;
///     manager.register_type<Counter, &Counter::add>("Counter").unwrap();
///     manager.start().unwrap();                                  // the server is a child process
///     auto counter = manager.create<Counter>("Counter").unwrap();
///     counter.call<&Counter::add>(3).unwrap();                   // 3
///
/// | after          | the server is                | shutdown() |
/// | -------------- | ---------------------------- | ---------- |
/// | start()        | a child of this process      | ends it    |
/// | get_server()   | in this process              | is an error|
/// | connect()      | somebody else's, at `address`| is an error|
///
/// The calls of one object run one at a time, in the order they came, each one whole: what needs
/// two calls needs a lock as well. A method that waits for a call of its own object, by itself or
/// through another object, therefore waits for ever (in Python methods of one object run side by
/// side); call_async without waiting is fine. Calls of different objects run side by side, on
/// threads of the server: a method may wait for what another object's method does. One that would
/// wait long should return a Future, which needs no thread. Text and copy of an object wait for its
/// calls, too.
///
/// The server ignores SIGINT, so that Ctrl-C reaches it last, and ends with the process that
/// started it. When it is killed every call that waits ends with peer_lost, at once.
///
/// Move-only; the destructor shuts a started server down. Functions of one BaseManager object are
/// for one thread at a time; what it gives out is for any.
class PASSEL_API BaseManager {
 public:
  explicit BaseManager(ManagerOptions options = {});
  BaseManager(BaseManager&&) noexcept;
  BaseManager& operator=(BaseManager&& other) noexcept;
  virtual ~BaseManager();

  /// Lets `create` make objects of class `T` under that name. What follows T says how: methods
  /// (`&Counter::add`), methods under another name (`passel::exposed<"plus", &Counter::add>`), one
  /// of `passel::constructor<...>` and `passel::factory<...>`, `passel::quick_methods`, results
  /// that stay in the server (`passel::hosted_result<...>`, `passel::iterated<...>`). Objects are
  /// made on threads of the server, as their methods are called; with quick_methods, and when they
  /// are destroyed, it is the I/O thread, which nothing may hold up. Only what is listed can be
  /// called. Before start() or get_server(); a manager that only connects needs none of it. Errors:
  /// invalid_state when it is too late, invalid_argument for an empty name, one with a line break,
  /// or one that is registered already. (Python: register)
  template <class T, auto... Spec>
  Result<void> register_type(std::string name) {
    constexpr auto where = detail::made_on<Spec...>;
    using Task = detail::HostedFactoryTask<&detail::make_user_object<T, Spec...>, where>;
    return add_type(std::move(name), {Task::id(), {&detail::make_user_object<T, Spec...>, where}});
  }

  /// Starts the server process; returns when it serves. Errors: invalid_state ("already started",
  /// "has been shut down", no Runtime), those of Process::start, those of Listener::open for the
  /// address; for `certificates` invalid_argument and those of AuthKey::load.
  Result<void> start() { return start_server({}); }
  /// The same; `Init` runs there first, with these arguments. What it throws is the error.
  template <auto Init, class... A>
  Result<void> start_with(A&&... args) {
    using Task = detail::task_for<detail::FunctionTarget<Init>, A...>;
    using Stored = detail::task_arguments<detail::FunctionTarget<Init>, A...>;
    PASSEL_TRY(auto encoded, detail::encode_arguments<Stored>(std::forward<A>(args)...));
    return start_server(detail::ManagerInitializer{Task::id(), std::move(encoded)});
  }
  /// Uses the server at `address`. Errors: not_found or refused when nobody is there, auth_failed,
  /// timeout, invalid_state when it is started already, or when another manager of this process is
  /// there with another key (a process has one for an address); for `certificates` those of start.
  Result<void> connect() { return connect_until(detail::Deadline::never()); }
  /// The same, waiting at most `limit` for the server, and 10 s in any case.
  template <class Rep, class Period>
  Result<void> connect_for(std::chrono::duration<Rep, Period> limit) {
    return connect_until(detail::Deadline::after(limit));
  }
  /// Makes the server in this process. Errors: as start.
  Result<ManagerServer> get_server();

  /// Ends the server that start() made: politely, after shutdown_timeout by SIGTERM, after that
  /// time again by SIGKILL. Proxies fail with peer_lost from then on. The second time is nothing.
  /// Errors: invalid_state when it was not started here.
  Result<void> shutdown();
  /// Waits for the end of the started server. Errors: invalid_state.
  Result<void> join();
  template <class Rep, class Period>
  Result<void> join_for(std::chrono::duration<Rep, Period> limit) {
    return join_until(detail::Deadline::after(limit));
  }
  /// The started server's: empty while it runs, or when there is none.
  [[nodiscard]] std::optional<int> exitcode() const;
  [[nodiscard]] std::optional<int> pid() const;
  /// Where the server is; the chosen one once it is started.
  [[nodiscard]] Address address() const;

  /// Has the server make an object. Errors: invalid_state "not started", not_found when there is no
  /// such type there, type_mismatch for other arguments than it takes, what the constructor throws,
  /// peer_lost.
  template <class... A>
  Result<DynamicProxy> create(std::string_view type, const A&... args) {
    return create_encoded(type, detail::encode_pack(wire(args)...));
  }
  template <class T, class... A>
  Result<Proxy<T>> create(std::string_view type, const A&... args) {
    PASSEL_TRY(DynamicProxy proxy, create_encoded(type, detail::encode_pack(wire(args)...)));
    return Proxy<T>{std::move(proxy)};
  }

  /// Has the server keep the object under a name, by which every client finds it (named), whatever
  /// became of who made it. Errors: invalid_argument for an empty name, one with a line break, one
  /// that stands for another object, and an object of another manager; those of a call.
  Result<void> publish(std::string_view name, const DynamicProxy& object) const;
  /// Gives up the name: the object lives as long as somebody has a proxy of it. Errors: not_found.
  Result<void> unpublish(std::string_view name) const;
  /// The object of that name, as DynamicProxy or as a proxy with a face that suits it. Errors:
  /// not_found. (Erlang's whereis)
  ///
  ///     auto jobs = manager.named<passel::QueueProxy<int>>("jobs").unwrap();
  template <class P = DynamicProxy>
  [[nodiscard]] Result<P> named(std::string_view name) const {
    PASSEL_TRY(DynamicProxy proxy, named_object(name, detail::Deadline::never()));
    return P{std::move(proxy)};
  }
  /// The same, waiting at most `limit` for the answer. Errors also: timeout.
  template <class P = DynamicProxy, class Rep, class Period>
  [[nodiscard]] Result<P> named_for(std::chrono::duration<Rep, Period> limit,
                                    std::string_view name) const {
    PASSEL_TRY(DynamicProxy proxy, named_object(name, detail::Deadline::after(limit)));
    return P{std::move(proxy)};
  }
  /// The same; the first who asks has it made, of that type with these arguments, so that clients
  /// need no order in which they start. Errors also: type_mismatch when it is of another type;
  /// those of create.
  ///
  ///     auto jobs = manager.get_or_create<passel::QueueProxy<int>>("jobs", "Queue", 100).unwrap();
  template <class P = DynamicProxy, class... A>
  Result<P> get_or_create(std::string_view name, std::string_view type, const A&... args) const {
    PASSEL_TRY(DynamicProxy proxy,
               get_or_create_encoded(name, type, detail::encode_pack(wire(args)...),
                                     detail::Deadline::never()));
    return P{std::move(proxy)};
  }
  /// The same, waiting at most `limit` for the answer; what is being made then is made all the same
  /// when others have asked for it, too. Errors also: timeout.
  template <class P = DynamicProxy, class Rep, class Period, class... A>
  Result<P> get_or_create_for(std::chrono::duration<Rep, Period> limit, std::string_view name,
                              std::string_view type, const A&... args) const {
    PASSEL_TRY(DynamicProxy proxy,
               get_or_create_encoded(name, type, detail::encode_pack(wire(args)...),
                                     detail::Deadline::after(limit)));
    return P{std::move(proxy)};
  }
  /// Names and the types of their objects, sorted.
  [[nodiscard]] Result<std::vector<std::pair<std::string, std::string>>> names() const {
    return names_until(detail::Deadline::never());
  }
  /// The same, waiting at most `limit` for the answer. Errors also: timeout.
  template <class Rep, class Period>
  [[nodiscard]] Result<std::vector<std::pair<std::string, std::string>>> names_for(
      std::chrono::duration<Rep, Period> limit) const {
    return names_until(detail::Deadline::after(limit));
  }

  /// Asks for an answer and nothing else, waiting at most so long for it: whether the server
  /// serves. Errors: timeout, peer_lost.
  template <class Rep, class Period>
  [[nodiscard]] Result<void> ping_for(std::chrono::duration<Rep, Period> limit) const {
    return ping_until(detail::Deadline::after(limit));
  }
  /// How many objects it hosts.
  [[nodiscard]] Result<std::size_t> number_of_objects() const;
  /// One object in two lines: number, type, references; text, of which there is none while a method
  /// of it runs. The server's I/O thread makes the texts of all objects that are not in use.
  [[nodiscard]] Result<std::string> debug_info() const;
  /// The names of the types that can be created there, sorted.
  [[nodiscard]] Result<std::vector<std::string>> types() const;

 protected:
  /// Errors: invalid_state, when it is too late to say what the server shall have.
  [[nodiscard]] Result<void> check_not_begun() const;
  Result<void> add_type(std::string name, detail::ManagerType type);
  Result<DynamicProxy> create_encoded(std::string_view type, Result<detail::Encoded> args) const;

 private:
  struct State;

  template <class T>
  static const T& wire(const T& value) noexcept {
    return value;
  }
  template <std::size_t N>
  static std::string_view wire(const char (&text)[N]) noexcept {
    return {text};
  }
  Result<void> connect_until(detail::Deadline deadline);
  [[nodiscard]] Result<DynamicProxy> named_object(std::string_view name,
                                                  detail::Deadline deadline) const;
  [[nodiscard]] Result<std::vector<std::pair<std::string, std::string>>> names_until(
      detail::Deadline deadline) const;
  [[nodiscard]] Result<void> ping_until(detail::Deadline deadline) const;
  Result<DynamicProxy> get_or_create_encoded(std::string_view name, std::string_view type,
                                             Result<detail::Encoded> args,
                                             detail::Deadline deadline) const;
  Result<void> start_server(std::optional<detail::ManagerInitializer> initializer);
  Result<void> join_until(detail::Deadline deadline);
  template <class R>
  [[nodiscard]] Result<R> ask(std::string_view what,
                              Result<detail::Encoded> args = detail::encode_pack(),
                              detail::Deadline deadline = detail::Deadline::never()) const;

  std::shared_ptr<State> state_;
};

}  // namespace passel::inline v0
