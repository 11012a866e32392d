// Tests: a manager's server, and clients that say whatever they are told to.
#pragma once

#include <passel/codec.hpp>
#include <passel/detail/hosted_type.hpp>
#include <passel/detail/io_loop.hpp>

#include "frame.hpp"
#include "fuzz_input.hpp"
#include "hosted_dict.hpp"
#include "hosted_list.hpp"
#include "hosted_locks.hpp"
#include "hosted_queue.hpp"
#include "hosted_set.hpp"
#include "manager_core.hpp"
#include "proxy_place.hpp"
#include "session_messages.hpp"
#include "session_socket.hpp"
#include "task_broker.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace passel_fuzz {

using namespace passel::detail;
using passel::WireValue;

/// A user's class, whose methods run on threads.
struct Notes {
  std::size_t add(const std::string& text, std::optional<int> number) {
    texts.emplace(number.value_or(0), text);
    return texts.size();
  }
  [[nodiscard]] std::vector<std::string> find(const std::vector<int>& numbers) const {
    std::vector<std::string> found;
    for (const int number : numbers)
      if (const auto one = texts.find(number); one != texts.end()) found.push_back(one->second);
    return found;
  }
  void fail(const std::map<std::string, double>&) { throw std::runtime_error{"as asked"}; }
  std::multimap<int, std::string> texts;
};

/// A server of its own for each input, so that each is a story of its own.
class FuzzServer {
 public:
  FuzzServer() {
    static IoLoop loop;
    ManagerCoreOptions options;
    options.authkey = key();
    options.limits = {.objects = 200, .objects_of_session = 100, .calls_of_session = 50};
    for (const auto& [type, maker] : types()) options.types.emplace(type, maker);
    core_ = ManagerCore::open(loop, std::move(options)).unwrap();
  }
  FuzzServer(const FuzzServer&) = delete;
  FuzzServer& operator=(const FuzzServer&) = delete;
  ~FuzzServer() { core_->close(); }

  [[nodiscard]] static const passel::AuthKey& key() {
    static const passel::AuthKey key{"the key that every input knows of"};
    return key;
  }
  [[nodiscard]] std::uint64_t epoch() const { return core_->epoch(); }
  [[nodiscard]] const passel::Address& address() const { return core_->address(); }

  /// All there are but pools, which start processes.
  static const std::map<std::string, HostedMaker>& types() {
    static const std::map<std::string, HostedMaker> all{
        {"Array", {&make_hosted_array}},
        {"Barrier", {&make_hosted_barrier}},
        {"BoundedSemaphore", {&make_hosted_bounded_semaphore}},
        {"Condition", {&make_hosted_condition}},
        {"Event", {&make_hosted_event}},
        {"JoinableQueue", {&make_hosted_joinable_queue}},
        {"LifoQueue", {&make_hosted_lifo_queue}},
        {"Lock", {&make_hosted_lock}},
        {"Namespace", {&make_hosted_namespace}},
        {"Notes", {&make_user_object<Notes, &Notes::add, &Notes::find, &Notes::fail>}},
        {"PriorityQueue", {&make_hosted_priority_queue}},
        {"Queue", {&make_hosted_queue}},
        {"RLock", {&make_hosted_rlock}},
        {"Semaphore", {&make_hosted_semaphore}},
        {"TaskBroker", {&make_task_broker}},
        {"Value", {&make_hosted_value}},
        {"dict", {&make_hosted_dict}},
        {"list", {&make_hosted_list}},
        {"set", {&make_hosted_set}},
    };
    return all;
  }

 private:
  std::shared_ptr<ManagerCore> core_;
};

/// The other end of a session: it says hello and then anything, and looks at all it is told.
class FuzzClient {
 public:
  explicit FuzzClient(const FuzzServer& server) : server_{&server} {
    auto carrier =
        connect_session(server.address(), FuzzServer::key(), {}, Deadline::never()).unwrap();
    socket_ = std::move(carrier.socket);
    prove_key(*carrier.stream);
    say(Hello{});
  }

  void say(const SessionMessage& message) {
    std::vector<std::byte> payload;
    write_session_message(message, payload);
    say_frame(payload);
  }
  void say_frame(const std::vector<std::byte>& payload) { append_frame(unsent_, payload); }
  void say_bytes(const std::vector<std::byte>& bytes) {
    unsent_.insert(unsent_.end(), bytes.begin(), bytes.end());
    is_clean_ = false;
  }
  void call(CallMessage call) {
    call.id = ++last_call_;
    asked_.insert(call.id);
    say(call);
  }
  template <class... A>
  void call(const std::string& method, const A&... args) {
    const Encoded encoded = encode_pack(args...).unwrap();
    CallMessage made;
    made.method = method;
    made.args = encoded.bytes;
    call(std::move(made));
  }

  /// One of each kind: their numbers are those of the types.
  void make_objects() {
    for (const auto& [type, maker] : FuzzServer::types()) {
      const std::string create = "create " + type;
      if (type == "Array") {
        call(create, std::string{"i"}, std::vector<WireValue>{1, 2});
      } else if (type == "Barrier" || type.ends_with("Semaphore")) {
        call(create, std::int64_t{2});
      } else if (type.ends_with("Queue")) {
        call(create, std::int64_t{3});
      } else if (type == "TaskBroker") {
        call(create, std::string{"tasks"});
      } else if (type == "Value") {
        call(create, WireValue{1});
      } else if (type == "list" || type == "set" || type == "dict" || type == "Namespace") {
        call(create, std::vector<WireValue>{});
      } else {
        call(create);
      }
    }
    wait_for_answers();
  }
  void hold_objects() {
    const auto ticket = encode(std::uint64_t{0}).unwrap().bytes;
    for (std::uint64_t n = 1; n <= FuzzServer::types().size(); ++n)
      say(NotifyMessage{n, "hold", ticket});
  }
  [[nodiscard]] WireValue proxy(std::uint64_t object) const {
    return write_proxy({"list", server_->address(), server_->epoch(), object}, 0);
  }

  /// The server has heard all that was said, or ended the session.
  void wait_until_heard() {
    if (!is_clean_) return;
    say(PingMessage{++ping_});
    while (!ended_ && pong_ != ping_) exchange();
  }
  void wait_for_answers() {
    while (!ended_ && !asked_.empty()) exchange();
  }
  [[nodiscard]] bool is_served() {
    call("ping");
    wait_for_answers();
    return asked_.empty();
  }
  /// Says that no more comes, and listens to the end.
  void leave() {
    while (!ended_ && !unsent_.empty()) exchange();
    ::shutdown(socket_.get(), SHUT_WR);
    while (!ended_) exchange();
  }

 private:
  void prove_key(SecureStream& stream) {
    std::vector<std::byte> bytes;
    for (stream.take(bytes); !stream.established(); stream.take(bytes)) {
      say_bytes(std::exchange(bytes, {}));
      while (!unsent_.empty()) send_some();
      std::array<std::byte, 512> heard;
      pollfd watched{socket_.get(), POLLIN, 0};
      ::poll(&watched, 1, -1);
      const auto got = ::recv(socket_.get(), heard.data(), heard.size(), MSG_DONTWAIT);
      if (got > 0) stream.feed(std::span{heard}.first(static_cast<std::size_t>(got))).unwrap();
    }
    say_bytes(bytes);
    is_clean_ = true;
    // From now on there are plain bytes, and some may be there.
    for (std::size_t got = 1; got != 0;) {
      got = stream.read(reader_.space()).unwrap();
      reader_.received(got);
    }
  }
  void exchange() {
    pollfd watched{socket_.get(), POLLIN, 0};
    if (!unsent_.empty()) watched.events |= POLLOUT;
    if (::poll(&watched, 1, -1) < 0) return;
    if ((watched.revents & POLLOUT) != 0) send_some();
    if ((watched.revents & (POLLIN | POLLHUP | POLLERR)) != 0) receive_some();
  }
  void send_some() {
    const auto sent =
        ::send(socket_.get(), unsent_.data(), unsent_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) unsent_.erase(unsent_.begin(), unsent_.begin() + sent);
    // The server reads no more: what it still says is read all the same.
    if (sent < 0 && errno != EAGAIN) unsent_.clear();
  }
  void receive_some() {
    const auto space = reader_.space();
    const auto got = ::recv(socket_.get(), space.data(), space.size(), MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
      ended_ = true;
      return;
    }
    reader_.received(static_cast<std::size_t>(got));
    while (true) {
      const auto frame = reader_.next();
      demand("a server's frames are whole", frame);
      if (!*frame) return;
      const auto message = read_session_message((*frame)->payload);
      demand("and can be read", message);
      heard(*message);
    }
  }
  void heard(const SessionMessage& message) {
    if (const auto* const pong = std::get_if<PongMessage>(&message)) pong_ = pong->number;
    const auto* const answer = std::get_if<ResultMessage>(&message);
    if (answer == nullptr) return;
    // Of calls that raw bytes made nothing is known.
    const bool was_asked = asked_.erase(answer->id) == 1;
    demand("each call is answered once", was_asked || !is_clean_ || is_unsure(answer->id));
  }
  /// An answer to a frame that happened to be a call.
  [[nodiscard]] bool is_unsure(std::uint64_t id) const { return id > last_call_; }

  const FuzzServer* server_;
  Descriptor socket_;
  FrameReader reader_;
  std::vector<std::byte> unsent_;
  std::set<std::uint64_t> asked_;
  std::uint64_t last_call_ = 0;
  std::uint64_t ping_ = std::uint64_t{1} << 40;  // not one of an input's
  std::uint64_t pong_ = 0;
  bool is_clean_ = true;  // no bytes out of the blue were said
  bool ended_ = false;
};

}  // namespace passel_fuzz
