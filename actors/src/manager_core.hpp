// Layer actors: the server of a manager: hosted objects, who has proxies of them, and calls.
#pragma once

#include <passel/detail/hosted_object.hpp>
#include <passel/detail/session_server.hpp>
#include <passel/listener.hpp>
#include <passel/manager_options.hpp>

#include "hosted_threads.hpp"
#include "manager_names.hpp"
#include "manager_registry.hpp"
#include "proxy_place.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace passel::inline v0::detail {

/// Calls whose target is 0 go to the server itself. "create TYPE" makes an object.
inline constexpr std::string_view create_prefix = "create ";
/// "get_or_create NAME", a line break, TYPE: the same unless there is an object of that name.
inline constexpr std::string_view get_or_create_prefix = "get_or_create ";

/// What create answers.
struct CreatedObject {
  std::uint64_t object = 0;
  std::uint64_t epoch = 0;
};

struct ManagerCoreOptions {
  Address address = UnixAddress{};
  std::optional<AuthKey> authkey{};
  std::optional<Certificates> certificates{};
  std::string name{};
  std::chrono::milliseconds silence = session_silence;
  ManagerLimits limits{};
  std::vector<AuthKey> former_authkeys{};
  std::vector<ManagerRole> roles{};
  std::map<std::string, HostedMaker> types{};
};

/// Hosts objects at an address. Made and destroyed on any thread but the I/O thread; what is
/// private runs on that.
class ManagerCore final : public SessionService,
                          public HostedSite,
                          public std::enable_shared_from_this<ManagerCore> {
 public:
  [[nodiscard]] static Result<std::shared_ptr<ManagerCore>> open(IoLoop& loop,
                                                                 ManagerCoreOptions options);
  ManagerCore(IoLoop& loop, ManagerCoreOptions options);
  ~ManagerCore() override;

  /// Ends all sessions and destroys the objects. Idempotent.
  void close();
  [[nodiscard]] const Address& address() const noexcept { return address_; }
  [[nodiscard]] std::uint64_t epoch() const noexcept { return epoch_; }

  void adopt(WireValue& value, std::uint64_t session) override;
  [[nodiscard]] WireValue lend(const WireValue& value) override;
  [[nodiscard]] Result<WireValue> host(const std::string& type,
                                       std::shared_ptr<HostedObject> object,
                                       std::uint64_t session) override;
  [[nodiscard]] Result<std::shared_ptr<HostedObject>> object_of(
      const WireValue& proxy, std::uint64_t session,
      std::initializer_list<std::string_view> methods) const override;
  [[nodiscard]] bool has_room(std::uint64_t session) override { return server_->has_room(session); }
  Result<void> run(std::function<void()> work) override { return threads_->run(std::move(work)); }
  [[nodiscard]] IoLoop& loop() noexcept override { return loop_; }
  [[nodiscard]] const ManagerLimits& limits() const noexcept override { return options_.limits; }

 private:
  struct Hosted {
    std::string type;
    std::shared_ptr<HostedObject> object;
    std::uint64_t maker = 0;  ///< the session that had it made
  };
  /// One session: what it may do, and what it has.
  struct Visitor {
    const ManagerRole* role = nullptr;  ///< none: everything is for it
    std::size_t objects = 0;
  };
  class Held;
  struct Asked;
  using CallKey = std::pair<std::uint64_t, std::uint64_t>;  // session, call
  using Made = Result<std::shared_ptr<HostedObject>>;
  using WhenMade = std::function<void(HostedCall& call, Made made)>;

  void session_opened(std::uint64_t session, const SessionPeer& peer) override;
  void serve(const ServedCall& call) override;
  void session_ready(std::uint64_t session) override;
  void call_abandoned(std::uint64_t session, std::uint64_t call, std::uint64_t target) override;
  void answer_unwanted(std::uint64_t session, std::uint64_t call, std::uint64_t target) override;
  void notified(std::uint64_t session, std::uint64_t target, std::string_view topic,
                std::span<const std::byte> value) override;
  void session_closed(std::uint64_t session, const Error& why) override;

  void serve_call(const ServedCall& served, HostedCall&& call);
  void serve_self(HostedCall&& call);
  /// None: the session may do everything.
  [[nodiscard]] const ManagerRole* role_of(std::uint64_t session) const;
  /// Whether the session may use objects of that type, and call that method of them if one is
  /// named. Errors: refused.
  [[nodiscard]] Result<void> check_use(std::uint64_t session, const std::string& type,
                                       std::string_view method = {}) const;
  /// Whether it may have one made. Errors: refused, full.
  [[nodiscard]] Result<void> check_making(std::uint64_t session, const std::string& type) const;
  [[nodiscard]] Result<void> check_room(std::uint64_t session) const;
  void forget(const Hosted& gone);
  void made_by(std::uint64_t session, std::uint64_t object);
  void create(std::string_view type, HostedCall&& call);
  void get_or_create(std::string_view name_and_type, HostedCall&& call);
  Result<WireValue> bind_new(const std::string& name, const std::string& type,
                             std::uint64_t session, Made made);
  void look_again(const std::string& name);
  void publish(HostedCall&& call);
  /// Errors: not_found; refused when it is of a type that is not for the session.
  [[nodiscard]] Result<WireValue> named(std::uint64_t session, std::string_view name) const;
  /// Makes an object, on a thread when that may wait, and calls `done` on the I/O thread. Errors
  /// also: those of check_making, not_found when there is no such type.
  void make(const std::string& type, HostedCall&& call, const WhenMade& done);
  void made(Asked& asked, Made object);
  void give_up(const CallKey& call);
  [[nodiscard]] std::uint64_t add(const std::string& type, std::shared_ptr<HostedObject> object);
  void debug_info(HostedReply reply, int looks);
  [[nodiscard]] ProxyPlace place_of(std::uint64_t object) const;
  void step(RegistryEvent event);
  void destroy_leaving();
  void arm();
  void unkeep(std::uint64_t object);
  void adopt_from_elsewhere(WireValue& value, std::uint64_t session);
  [[nodiscard]] WireValue held(std::uint64_t object);
  template <class F>
  void tell_all(const F& tell);
  template <class F>
  [[nodiscard]] std::optional<WireValue> replaced(const WireValue& value, const F& replace) const;

  IoLoop& loop_;
  const ManagerCoreOptions options_;
  const std::uint64_t epoch_;
  const std::shared_ptr<HostedThreads> threads_;
  ManagerRegistry registry_;
  std::map<std::uint64_t, Hosted> objects_;
  std::unordered_map<std::uint64_t, Visitor> visitors_;                      // by session
  std::map<std::pair<const void*, std::string>, std::uint64_t> identities_;  // by type
  ManagerNames names_;
  std::map<CallKey, std::shared_ptr<Asked>> wanted_;     // calls of the server itself that wait
  std::map<std::string, std::vector<CallKey>> awaited_;  // those for a name that is being made
  std::vector<std::shared_ptr<HostedObject>> leaving_;   // nobody has them any more
  bool destroying_ = false;
  std::uint64_t last_object_ = 0;
  std::optional<IoLoop::TimerKey> timer_;
  std::unique_ptr<SessionServer> server_;
  Address address_;
};

}  // namespace passel::inline v0::detail
