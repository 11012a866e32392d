// Test support: network namespaces, by netlink and ioctl.
#include "net_namespace.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <system_error>

namespace passel_test {
namespace {

constexpr const char* cable = "cable";
constexpr const char* second_cable = "cable2";
constexpr const char* narrow = "255.255.255.0";

[[noreturn]] void fail(const std::string& what, int error_number = errno) {
  throw std::system_error{error_number, std::system_category(), what};
}

class Socket {
 public:
  explicit Socket(int fd) : fd_{fd} {
    if (fd_ < 0) fail("socket");
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() { ::close(fd_); }
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
};

void control(unsigned long what, void* how, const char* name) {
  const Socket socket{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  if (::ioctl(socket.fd(), what, how) != 0) fail(name);
}

ifreq interface(const char* name) {
  ifreq request{};
  std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  return request;
}

void set_up(const char* name, bool up) {
  ifreq request = interface(name);
  control(SIOCGIFFLAGS, &request, "SIOCGIFFLAGS");
  const auto running = static_cast<short>(IFF_UP);
  request.ifr_flags =
      static_cast<short>(up ? request.ifr_flags | running : request.ifr_flags & ~running);
  control(SIOCSIFFLAGS, &request, "SIOCSIFFLAGS");
}

void fill(sockaddr& to, const std::string& address) {
  sockaddr_in raw{};
  raw.sin_family = AF_INET;
  ::inet_pton(AF_INET, address.c_str(), &raw.sin_addr);
  std::memcpy(&to, &raw, sizeof raw);
}

void give_address(const char* name, const std::string& address, const char* mask = narrow) {
  ifreq request = interface(name);
  fill(request.ifr_addr, address);
  control(SIOCSIFADDR, &request, "SIOCSIFADDR");
  fill(request.ifr_netmask, mask);
  control(SIOCSIFNETMASK, &request, "SIOCSIFNETMASK");
}

/// A netlink message that is being written.
class Message {
 public:
  Message(std::uint16_t type, std::uint16_t flags) {
    head().nlmsg_type = type;
    head().nlmsg_flags = flags;
    head().nlmsg_len = NLMSG_LENGTH(0);
  }
  void add(const void* data, std::size_t size) {
    std::memcpy(bytes_.data() + head().nlmsg_len, data, size);
    head().nlmsg_len += static_cast<std::uint32_t>(NLMSG_ALIGN(size));
  }
  void attribute(std::uint16_t type, const void* data, std::size_t size) {
    const std::size_t at = open(type);
    add(data, size);
    // Its length is that of the data, without the padding behind it.
    at_place(at).rta_len = static_cast<std::uint16_t>(RTA_LENGTH(size));
  }
  std::size_t open(std::uint16_t type) {
    const std::size_t at = head().nlmsg_len;
    const rtattr empty{static_cast<std::uint16_t>(RTA_LENGTH(0)), type};
    add(&empty, sizeof empty);
    return at;
  }
  void close(std::size_t at) {
    at_place(at).rta_len = static_cast<std::uint16_t>(head().nlmsg_len - at);
  }
  void send() {
    const Socket socket{::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)};
    if (::send(socket.fd(), bytes_.data(), head().nlmsg_len, 0) < 0) fail("netlink");
    alignas(nlmsghdr) std::array<char, 4096> answer{};
    if (::recv(socket.fd(), answer.data(), answer.size(), 0) < 0) fail("netlink");
    nlmsgerr outcome{};
    std::memcpy(&outcome, answer.data() + NLMSG_LENGTH(0), sizeof outcome);
    if (outcome.error != 0) fail("veth", -outcome.error);
  }

 private:
  nlmsghdr& head() { return *reinterpret_cast<nlmsghdr*>(bytes_.data()); }
  rtattr& at_place(std::size_t at) { return *reinterpret_cast<rtattr*>(bytes_.data() + at); }
  alignas(nlmsghdr) std::array<char, 1024> bytes_{};
};

/// In the calling thread's namespace, where it has that name, with the other end in the namespace
/// of that descriptor.
void lay_cable(int other_end, const char* name = cable) {
  Message message{RTM_NEWLINK, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK};
  const ifinfomsg any{};
  message.add(&any, sizeof any);
  message.attribute(IFLA_IFNAME, name, std::strlen(name) + 1);
  const std::size_t kind = message.open(IFLA_LINKINFO);
  message.attribute(IFLA_INFO_KIND, "veth", 4);
  const std::size_t data = message.open(IFLA_INFO_DATA);
  const std::size_t peer = message.open(VETH_INFO_PEER);
  message.add(&any, sizeof any);
  message.attribute(IFLA_IFNAME, cable, std::strlen(cable) + 1);
  message.attribute(IFLA_NET_NS_FD, &other_end, sizeof other_end);
  message.close(peer);
  message.close(data);
  message.close(kind);
  message.send();
}

int new_namespace() {
  int made = -1;
  int failed = 0;
  std::thread{[&] {
    if (::unshare(CLONE_NEWNET) == 0) {
      const std::string own = "/proc/self/task/" + std::to_string(::gettid()) + "/ns/net";
      made = ::open(own.c_str(), O_RDONLY | O_CLOEXEC);
    }
    if (made < 0) failed = errno;
  }}.join();
  if (made < 0) fail("a network namespace", failed);
  return made;
}

arpreq neighbour(const std::string& address) {
  arpreq request{};
  fill(request.arp_pa, address);
  request.arp_ha.sa_family = ARPHRD_ETHER;
  std::memset(request.arp_ha.sa_data, 2, 6);  // no card has this number
  request.arp_flags = ATF_PERM | ATF_COM;
  std::strncpy(request.arp_dev, cable, sizeof request.arp_dev - 1);
  return request;
}

TwoHosts::Host opposite(TwoHosts::Host host) {
  return host == TwoHosts::Host::left ? TwoHosts::Host::right : TwoHosts::Host::left;
}

}  // namespace

std::string TwoHosts::missing() {
  try {
    const TwoHosts tried;
    return "";
  } catch (const std::system_error& error) {
    return std::string{
               "SKIPPED: this needs network namespaces, as root or with "
               "PASSEL_TEST_USER_NAMESPACE=1: "} +
           error.what();
  }
}

TwoHosts::TwoHosts() {
  try {
    left_ = new_namespace();
    right_ = new_namespace();
    on(Host::left, [this] { lay_cable(right_); });
    for (const Host host : {Host::left, Host::right}) {
      on(host, [host] {
        set_up("lo", true);
        give_address(cable, address(host));
        set_up(cable, true);
      });
    }
  } catch (...) {
    ::close(left_);
    ::close(right_);
    throw;
  }
}

TwoHosts::~TwoHosts() {
  ::close(left_);
  ::close(right_);
}

std::string TwoHosts::place(Host host) const {
  return "/proc/" + std::to_string(::getpid()) + "/fd/" +
         std::to_string(host == Host::left ? left_ : right_);
}

void TwoHosts::enter(const std::string& place) {
  const int fd = ::open(place.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail("open(" + place + ")");
  const int outcome = ::setns(fd, CLONE_NEWNET);
  const int error_number = errno;
  ::close(fd);
  if (outcome != 0) fail("setns(" + place + ")", error_number);
}

// The far end goes down: the near one keeps its address and its route, and hears nothing.
void TwoHosts::set_cable(bool whole) {
  on(Host::right, [whole] { set_up(cable, whole); });
}

void TwoHosts::mute(Host host) {
  on(host, [host] {
    arpreq wrong = neighbour(address(opposite(host)));
    control(SIOCSARP, &wrong, "SIOCSARP");
  });
}

void TwoHosts::unmute(Host host) {
  on(host, [host] {
    arpreq wrong = neighbour(address(opposite(host)));
    control(SIOCDARP, &wrong, "SIOCDARP");
  });
}

ThirdHost::ThirdHost(const TwoHosts& others) : host_{new_namespace()} {
  try {
    others.on(TwoHosts::Host::left, [this] {
      lay_cable(host_, second_cable);
      give_address(second_cable, "10.203.118.1");
      set_up(second_cable, true);
    });
    on([] {
      set_up("lo", true);
      // All of the left host's addresses are behind this cable.
      give_address(cable, "10.203.118.2", "255.255.0.0");
      set_up(cable, true);
    });
  } catch (...) {
    ::close(host_);
    throw;
  }
}

ThirdHost::~ThirdHost() { ::close(host_); }

std::string ThirdHost::place() const {
  return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(host_);
}

}  // namespace passel_test
