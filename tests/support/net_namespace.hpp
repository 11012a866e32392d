// Test support: hosts of the test's own: network namespaces joined by cables that can be cut.
#pragma once

#include <exception>
#include <string>
#include <thread>
#include <utility>

#include <sys/types.h>

namespace passel_test {

/// Two network namespaces with a cable (a veth pair) between them. It needs the rights of root, if
/// only in a user namespace: the cases that use it run there, too, whoever runs the suite
/// (UNPRIVILEGED of passel_test, support/user_namespace.hpp).
///
///     if (const auto why = TwoHosts::missing(); !why.empty()) GTEST_SKIP() << why;
///     TwoHosts hosts;
///     hosts.on(Host::left, [&] { listener = Listener::open(TcpAddress{hosts.address(Host::left)});
///     }); hosts.on(Host::right, [&] { line = Client::connect(...); }); hosts.cut(); // nobody is
///     told, on either side
///
/// A socket belongs to the host of the thread that makes it, whoever uses it then. A process is on
/// the host of the thread that forks it; one that is started otherwise goes to `place(host)` by
/// `enter` before it starts a thread. Everything ends with the last process that is on the hosts
/// and this object.
class TwoHosts {
 public:
  enum class Host { left, right };

  /// Why this process can have none; empty when it can.
  [[nodiscard]] static std::string missing();

  /// Throws std::system_error.
  TwoHosts();
  TwoHosts(const TwoHosts&) = delete;
  TwoHosts& operator=(const TwoHosts&) = delete;
  ~TwoHosts();

  [[nodiscard]] static std::string address(Host host) {
    return host == Host::left ? "10.203.117.1" : "10.203.117.2";
  }
  /// Where other processes find that host, as long as this object is there.
  [[nodiscard]] std::string place(Host host) const;
  /// Takes the calling thread to a host. Throws std::system_error.
  static void enter(const std::string& place);

  /// Runs `body` in a thread on that host and waits for it. What it throws is thrown.
  template <class F>
  void on(Host host, F body) const {
    at(place(host), std::move(body));
  }
  template <class F>
  static void at(const std::string& place, F body) {
    std::exception_ptr failed;
    std::thread{[&] {
      try {
        enter(place);
        body();
      } catch (...) {
        failed = std::current_exception();
      }
    }}.join();
    if (failed) std::rethrow_exception(failed);
  }

  /// Nothing gets through any more, and no side is told: addresses and routes stay.
  void cut() { set_cable(false); }
  void mend() { set_cable(true); }
  /// What that host sends is lost on the way; what is sent to it arrives.
  void mute(Host host);
  void unmute(Host host);

 private:
  void set_cable(bool whole);

  int left_ = -1;
  int right_ = -1;
};

/// One more host, with a cable of its own to the left one of two: it reaches that one by the
/// address that the right one knows.
class ThirdHost {
 public:
  /// Throws std::system_error.
  explicit ThirdHost(const TwoHosts& others);
  ThirdHost(const ThirdHost&) = delete;
  ThirdHost& operator=(const ThirdHost&) = delete;
  ~ThirdHost();

  [[nodiscard]] std::string place() const;
  template <class F>
  void on(F body) const {
    TwoHosts::at(place(), std::move(body));
  }

 private:
  int host_ = -1;
};

}  // namespace passel_test
