// Layer actors: what a manager's server hosts: objects that are called by the name of a method, and
// answer at once or later. The way to add a kind of object is described in the layer's README.
#pragma once

#include <passel/codec.hpp>
#include <passel/detail/future_core.hpp>
#include <passel/detail/io_loop.hpp>
#include <passel/detail/session_server.hpp>
#include <passel/detail/task.hpp>
#include <passel/result.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace passel::inline v0 {
struct ManagerLimits;
}

namespace passel::inline v0::detail {

class HostedObject;

/// Bytes of one answer: no message takes more, so that nobody need collect more.
inline constexpr std::size_t most_answer_bytes = std::size_t{64} << 20;
/// Bytes of several things in one answer, as many as there are: further ones come with the next
/// call, and a larger one alone.
inline constexpr std::size_t most_batch_bytes = std::size_t{16} << 20;

/// What the server does for the objects in it.
class PASSEL_API HostedSite {
 public:
  HostedSite() = default;
  HostedSite(const HostedSite&) = delete;
  HostedSite& operator=(const HostedSite&) = delete;
  virtual ~HostedSite();

  /// Proxies of this server's objects in `value`, which came from that session, hold them from now
  /// on, as long as the value or a copy of it lives; those of objects that its role may not use
  /// stay what they are. Any thread.
  virtual void adopt(WireValue& value, std::uint64_t session) = 0;
  /// The value as it may leave the server: the objects that it names live until it has arrived. I/O
  /// thread.
  [[nodiscard]] virtual WireValue lend(const WireValue& value) = 0;
  /// Hosts one more object, for that session, and gives its handle, which holds it. I/O thread.
  /// Errors: full.
  [[nodiscard]] virtual Result<WireValue> host(const std::string& type,
                                               std::shared_ptr<HostedObject> object,
                                               std::uint64_t session) = 0;
  /// The object that a proxy names, for that session to call these methods of it in effect. I/O
  /// thread. Errors: not_found when it is none of this server's, refused when its role may not.
  [[nodiscard]] virtual Result<std::shared_ptr<HostedObject>> object_of(
      const WireValue& proxy, std::uint64_t session,
      std::initializer_list<std::string_view> methods) const = 0;
  /// False while that session has so much to read that what can wait had better not be answered;
  /// session_ready of all objects comes when it can. I/O thread.
  [[nodiscard]] virtual bool has_room(std::uint64_t session) = 0;
  /// Runs something that may block on a thread of the server's own. Any thread. Errors: no_space
  /// when there is no thread and none can be started, closed when the server is.
  [[nodiscard]] virtual Result<void> run(std::function<void()> work) = 0;
  /// For timers.
  [[nodiscard]] virtual IoLoop& loop() noexcept = 0;
  [[nodiscard]] virtual const ManagerLimits& limits() const noexcept = 0;

  /// How many processes its objects run, of which limits() allows so many. I/O thread.
  std::size_t processes = 0;
};

/// Who calls. A session is one process's connection; it ends when the process lets go or dies.
struct HostedCaller {
  std::uint64_t session = 0;
  std::uint64_t thread = 0;  ///< of that process, as its kernel numbers it

  friend auto operator<=>(const HostedCaller&, const HostedCaller&) = default;
};

/// Where the answer of one call goes, now or later, from any thread. Answer once; one that is
/// destroyed unanswered tells the caller so (broken). Move-only.
class PASSEL_API HostedReply {
 public:
  HostedReply() = default;
  HostedReply(std::weak_ptr<SessionServer::Core> server, std::weak_ptr<HostedSite> site,
              std::uint64_t session, std::uint64_t call)
      : server_{std::move(server)}, site_{std::move(site)}, session_{session}, call_{call} {}
  HostedReply(HostedReply&& other) noexcept
      : server_{std::move(other.server_)},
        site_{std::move(other.site_)},
        session_{other.session_},
        call_{std::exchange(other.call_, 0)} {}
  HostedReply& operator=(HostedReply&& other) noexcept;
  ~HostedReply();

  /// Answers with encoded bytes or an error.
  void set(Result<Encoded> answer);
  /// Answers with a value, nothing, a Result of either, or a WireValue, in which proxies may be;
  /// with what a codec throws instead.
  template <class T>
  void value(T&& result);
  void value() { set(encode(std::uint8_t{0})); }
  /// Answers with a new object, which the server hosts from now on. Errors for the caller: full.
  void object(const std::string& type, std::shared_ptr<HostedObject> made);

 private:
  void set_wire(const WireValue& value);

  std::weak_ptr<SessionServer::Core> server_;
  std::weak_ptr<HostedSite> site_;
  std::uint64_t session_ = 0;
  std::uint64_t call_ = 0;
};

/// One call of a method.
struct PASSEL_API HostedCall {
  std::shared_ptr<HostedSite> site;
  HostedCaller caller;
  std::uint64_t id = 0;  ///< with caller.session it names the call; see HostedObject::abandoned
  std::string_view method;
  std::span<const std::byte> args;
  DescriptorSpan descriptors;
  std::optional<std::chrono::steady_clock::time_point> deadline;
  HostedReply reply;

  /// The arguments, with proxies in WireValues adopted. Errors: malformed, type_mismatch.
  template <class... A>
  [[nodiscard]] Result<std::tuple<A...>> arguments() const;
  /// Copies what the views show, so that the call can wait. Called by whoever keeps it.
  void keep();

 private:
  struct Kept {
    std::string method;
    std::vector<std::byte> args;
    std::vector<std::shared_ptr<Descriptor>> descriptors;
  };
  std::shared_ptr<Kept> kept_;
};

/// Something hosted. Destroyed on the I/O thread of the server, and called there, one call at a
/// time: no function of it may block. A call that has to wait keeps its reply and answers
/// later.
class PASSEL_API HostedObject {
 public:
  HostedObject() = default;
  HostedObject(const HostedObject&) = delete;
  HostedObject& operator=(const HostedObject&) = delete;
  virtual ~HostedObject();

  /// Answers `call.reply`, or keeps it.
  virtual void handle(HostedCall&& call) = 0;
  /// What can be called, sorted.
  [[nodiscard]] virtual std::vector<std::string> methods() const = 0;
  /// What a proxy prints as its text (Python's str of a proxy).
  [[nodiscard]] virtual std::string text() const = 0;
  /// The same, or the beginning of it, without waiting: nothing while it is in use.
  [[nodiscard]] virtual std::optional<std::string> text_at_once() const;
  /// The copy that a proxy gets of it (Python's _getvalue). Errors: unsupported.
  [[nodiscard]] virtual Result<WireValue> copy() const;
  /// The caller of that call no longer waits for it: give up its place in the line. Comes for calls
  /// that are not answered yet, also when their session ends (before session_ended).
  virtual void abandoned(std::uint64_t session, std::uint64_t call);
  /// The caller says that it has the answer to that call, and will not give it up any more. Only
  /// for methods whose callers say so.
  virtual void kept(std::uint64_t session, std::uint64_t call);
  /// The answer to that call reached nobody: its caller gave up when it was on its way. What it
  /// handed out goes back, unless it has been kept. Comes for calls of any object.
  virtual void discarded(std::uint64_t session, std::uint64_t call);
  /// That session has room for answers again that waited for it; see HostedSite::has_room.
  virtual void session_ready(std::uint64_t session);
  /// A session is over: what it held of this object goes back.
  virtual void session_ended(std::uint64_t session);
  /// What makes two of them the same object, or nullptr: factories that give out one object again
  /// and again.
  [[nodiscard]] virtual const void* identity() const noexcept;
  /// `other` is the same thing under another name: their calls run in one line.
  virtual void share_line(HostedObject& other);
};

/// Makes an object of a type from the arguments of the creating call.
using HostedFactory = Result<std::shared_ptr<HostedObject>> (*)(const HostedCall& call);

/// Where a factory runs: on a thread of the server's when it may wait for something.
enum class MadeOn : bool { io_thread, thread };

struct HostedMaker {
  HostedFactory make = nullptr;
  MadeOn where = MadeOn::io_thread;
};

/// A factory as another process of this build finds it: a task that answers with its address.
template <HostedFactory Factory, MadeOn where = MadeOn::io_thread>
struct HostedFactoryTask {
  static Result<Encoded> run(std::span<const std::byte>,
                             std::span<const std::shared_ptr<Descriptor>>) {
    return encode(std::pair{reinterpret_cast<std::uintptr_t>(Factory), where == MadeOn::thread});
  }
  static inline const TaskNode node{&run};
  [[nodiscard]] static TaskId id() { return id_of_task(node.function); }
};
/// The factory that such a task names. Errors: not_found, malformed.
[[nodiscard]] PASSEL_API Result<HostedMaker> find_hosted_factory(TaskId id);

/// Whether it is a call that any object answers: "#text", "#copy", "#methods".
[[nodiscard]] PASSEL_API bool is_about_object(std::string_view method) noexcept;
/// Answers such a call.
PASSEL_API void answer_about(const HostedObject& object, HostedCall&& call);
/// "'Counter' has no method 'ad': add, get"
[[nodiscard]] PASSEL_API Error no_such_method(std::string_view method, const HostedObject& object);

template <class T>
inline constexpr bool holds_wire =
    std::is_same_v<T, WireValue> || std::is_same_v<T, std::vector<WireValue>> ||
    std::is_same_v<T, std::optional<WireValue>>;

template <class T>
void HostedReply::value(T&& result) {
  using R = std::remove_cvref_t<T>;
  if constexpr (is_result<R>) {
    if (!result) return set(result.error());
    if constexpr (std::is_void_v<typename R::value_type>) {
      value();
    } else {
      value(*std::forward<T>(result));
    }
  } else if constexpr (holds_wire<R>) {
    set_wire(to_value(result));
  } else {
    try {
      set(encode(result));
    } catch (...) {
      set(current_exception_as_error());
    }
  }
}

inline void adopt_into(HostedSite& site, WireValue& value, std::uint64_t session) {
  site.adopt(value, session);
}
inline void adopt_into(HostedSite& site, std::vector<WireValue>& values, std::uint64_t session) {
  for (WireValue& value : values) site.adopt(value, session);
}
inline void adopt_into(HostedSite& site, std::optional<WireValue>& value, std::uint64_t session) {
  if (value) site.adopt(*value, session);
}

template <class... A>
Result<std::tuple<A...>> HostedCall::arguments() const {
  auto read = decode_pack<A...>(args, descriptors);
  if (!read) return read;
  std::apply(
      [this](auto&... one) {
        [[maybe_unused]] const auto adopt = [this]<class V>(V& value) {
          if constexpr (holds_wire<V>) adopt_into(*site, value, caller.session);
        };
        (adopt(one), ...);
      },
      *read);
  return read;
}

}  // namespace passel::inline v0::detail
