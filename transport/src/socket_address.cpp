// Layer transport: addresses as the kernel takes them, and files that belong to listening sockets.
#include "socket_address.hpp"

#include <passel/detail/shared_object.hpp>
#include <passel/parse_address.hpp>

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <string_view>

namespace passel::inline v0 {

std::string to_string(const Address& address) {
  if (const auto* file = std::get_if<UnixAddress>(&address)) return file->path;
  const auto& tcp = std::get<TcpAddress>(address);
  const bool v6 = tcp.host.find(':') != std::string::npos;
  return (v6 ? "[" + tcp.host + "]" : tcp.host) + ":" + std::to_string(tcp.port);
}

Result<Address> parse_address(std::string_view text) {
  const auto wrong = [text] {
    return Error{Errc::invalid_argument, "'" + std::string{text} +
                                             "' is no address: HOST:PORT, [V6]:PORT or a path with "
                                             "a slash"};
  };
  if (text.find('/') != text.npos) return Address{UnixAddress{std::string{text}}};
  const std::size_t colon = text.rfind(':');
  if (colon == text.npos) return wrong();
  std::string_view host = text.substr(0, colon);
  const std::string_view number = text.substr(colon + 1);
  const bool is_bracketed = host.starts_with('[') && host.ends_with(']');
  if (is_bracketed) host = host.substr(1, host.size() - 2);
  std::uint16_t port = 0;
  const auto [end, failed] = std::from_chars(number.data(), number.data() + number.size(), port);
  if (failed != std::errc{} || end != number.data() + number.size() || host.empty() ||
      (!is_bracketed && host.find(':') != host.npos))
    return wrong();
  return Address{TcpAddress{std::string{host}, port}};
}

namespace detail {
namespace {

constexpr int most_lock_rounds = 100;

using AskName = int (*)(int, sockaddr*, socklen_t*);

std::string unix_name(int fd, AskName ask) {
  sockaddr_un address{};
  socklen_t size = sizeof address;
  if (ask(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0 || address.sun_family != AF_UNIX)
    return {};
  return {address.sun_path, ::strnlen(address.sun_path, sizeof address.sun_path)};
}

std::string lock_path(const std::string& path) { return path + ".lock"; }

Error file_error(const std::string& call, int error_number) {
  if (error_number == ENOENT || error_number == ENOTDIR)
    return {Errc::not_found, call + ": " + std::strerror(error_number)};
  return system_error(call, error_number);
}

/// The lock file, locked, and still the one that has its name.
Result<Descriptor> lock_place(const std::string& path) {
  const std::string name = lock_path(path);
  for (int round = 0; round < most_lock_rounds; ++round) {
    Descriptor lock{::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)};
    if (!lock) return file_error("open(" + name + ")", errno);
    if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK) return system_error("flock(" + name + ")", errno);
      return Error{Errc::refused, path + " is in use: another listener is there"};
    }
    struct stat locked {};
    struct stat named {};
    if (::fstat(lock.get(), &locked) == 0 && ::stat(name.c_str(), &named) == 0 &&
        locked.st_dev == named.st_dev && locked.st_ino == named.st_ino)
      return lock;
    // Its last owner removed it just before the lock was ours.
  }
  return Error{Errc::refused, name + " is replaced all the time"};
}

constexpr std::string_view own_directory = "passel-XXXXXX";
constexpr std::string_view own_socket = "/listener";

/// Left behind by a process of this user, and not just made: then its lock may not be taken yet.
bool is_old(const struct stat& found) {
  constexpr time_t just_made = 60;
  return found.st_uid == ::geteuid() && ::time(nullptr) - found.st_mtime >= just_made;
}

/// Removes a directory that a killed process left behind: the lock in it is free, or it is empty,
/// since somebody else listened there afterwards or the process did not come so far.
void remove_if_left(const std::string& directory) {
  const std::string socket = directory + std::string{own_socket};
  const Descriptor lock{::open(lock_path(socket).c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW)};
  struct stat found {};
  if (lock) {
    if (::fstat(lock.get(), &found) != 0 || !is_old(found)) return;
    if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) return;  // it lives
    ::unlink(socket.c_str());
    ::unlink(lock_path(socket).c_str());
  } else if (errno != ENOENT || ::lstat(directory.c_str(), &found) != 0 || !is_old(found)) {
    return;
  }
  ::rmdir(directory.c_str());
}

// Nobody else would remove what a process leaves that has a directory of its own and is killed.
void sweep(const std::string& parent) {
  const std::unique_ptr<DIR, int (*)(DIR*)> entries{::opendir(parent.c_str()), ::closedir};
  if (entries == nullptr) return;
  const std::string_view prefix = own_directory.substr(0, own_directory.find('X'));
  while (const dirent* entry = ::readdir(entries.get())) {
    const std::string_view name{entry->d_name};
    if (name.size() == own_directory.size() && name.starts_with(prefix))
      remove_if_left(parent + "/" + std::string{name});
  }
}

Result<std::string> new_directory() {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  const char* temporary = std::getenv("TMPDIR");
  for (const char* parent : {runtime, temporary, "/tmp"}) {
    if (parent == nullptr || *parent == '\0') continue;
    std::string name = std::string{parent} + "/" + std::string{own_directory};
    if (::mkdtemp(name.data()) == nullptr) continue;
    sweep(parent);
    return name;
  }
  return system_error("mkdtemp(/tmp/passel-XXXXXX)", errno);
}

}  // namespace

bool SocketAddress::is_loopback() const noexcept {
  if (family() == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &storage, sizeof v4);
    return (ntohl(v4.sin_addr.s_addr) >> 24) == 127;
  }
  if (family() == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, &storage, sizeof v6);
    return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr) ||
           (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr) && v6.sin6_addr.s6_addr[12] == 127);
  }
  return false;
}

Result<SocketAddress> unix_socket_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.front() == '\0') {
    return Error{Errc::invalid_argument,
                 "a listener needs a file: abstract sockets have no permissions"};
  }
  if (path.size() >= sizeof address.sun_path || path.find('\0') != std::string::npos) {
    return Error{Errc::invalid_argument,
                 "path of " + std::to_string(path.size()) + " bytes, limit " +
                     std::to_string(sizeof address.sun_path - 1) + " without zeros: " + path};
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  SocketAddress out;
  std::memcpy(&out.storage, &address, sizeof address);
  out.size = sizeof address;
  return out;
}

Deadline share_of(Deadline deadline, std::size_t attempts) {
  if (deadline.is_never() || deadline.is_try() || attempts <= 1) return deadline;
  return Deadline::after(deadline.left() / static_cast<std::int64_t>(attempts));
}

bool is_gone(int error_number) noexcept {
  switch (error_number) {
    case EPIPE:
    case ECONNRESET:
    case ECONNABORTED:
    case ETIMEDOUT:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ENETDOWN: return true;
    default: return false;
  }
}

Result<std::vector<SocketAddress>> look_up(const TcpAddress& address) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* first = nullptr;
  const std::string port = std::to_string(address.port);
  // An empty host would mean every interface to the one and loopback to the other.
  const int failed = address.host.empty()
                         ? EAI_NONAME
                         : ::getaddrinfo(address.host.c_str(), port.c_str(), &hints, &first);
  if (failed != 0) {
    return Error{Errc::invalid_argument,
                 "host '" + address.host + "': " + std::string{::gai_strerror(failed)}};
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owned{first, ::freeaddrinfo};
  std::vector<SocketAddress> found;
  for (const addrinfo* one = first; one != nullptr; one = one->ai_next) {
    SocketAddress out;
    std::memcpy(&out.storage, one->ai_addr, one->ai_addrlen);
    out.size = one->ai_addrlen;
    found.push_back(out);
  }
  return found;
}

Address to_address(const SocketAddress& address) {
  char host[INET6_ADDRSTRLEN]{};
  if (address.family() == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &address.storage, sizeof v4);
    ::inet_ntop(AF_INET, &v4.sin_addr, host, sizeof host);
    return TcpAddress{host, ntohs(v4.sin_port)};
  }
  sockaddr_in6 v6{};
  std::memcpy(&v6, &address.storage, sizeof v6);
  ::inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof host);
  return TcpAddress{host, ntohs(v6.sin6_port)};
}

std::string crowd_of(const std::string& host) {
  in6_addr raw{};
  if (::inet_pton(AF_INET6, host.c_str(), &raw) != 1) return host;
  char text[INET6_ADDRSTRLEN]{};
  if (IN6_IS_ADDR_V4MAPPED(&raw)) {
    ::inet_ntop(AF_INET, raw.s6_addr + 12, text, sizeof text);
    return text;
  }
  std::memset(raw.s6_addr + 8, 0, 8);
  ::inet_ntop(AF_INET6, &raw, text, sizeof text);
  return std::string{text} + "/64";
}

bool met_itself(int fd) noexcept {
  SocketAddress mine;
  SocketAddress other;
  mine.size = other.size = sizeof mine.storage;
  return ::getsockname(fd, reinterpret_cast<sockaddr*>(&mine.storage), &mine.size) == 0 &&
         ::getpeername(fd, reinterpret_cast<sockaddr*>(&other.storage), &other.size) == 0 &&
         mine.size == other.size && std::memcmp(&mine.storage, &other.storage, mine.size) == 0;
}

std::string name_of_listener(int fd) { return unix_name(fd, ::getpeername); }
std::string bound_name(int fd) { return unix_name(fd, ::getsockname); }

void prepare_tcp(int fd) noexcept {
  const auto set = [fd](int level, int option, int value) {
    ::setsockopt(fd, level, option, &value, sizeof value);
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 3);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 1);
  set(IPPROTO_TCP, TCP_KEEPCNT, 3);
}

Result<bool> same_user(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
    return system_error("getsockopt(SO_PEERCRED)", errno);
  return peer.uid == ::geteuid();
}

Error plaintext_refused(const Address& address, PlaintextTcp asked) {
  const std::string where = "TCP at " + to_string(address) + " without authentication";
  if (asked == PlaintextTcp::refused)
    return {Errc::refused, where + " has to be asked for: insecure_plaintext"};
  return {Errc::refused, where + " is for loopback only"};
}

Result<SocketPlace> SocketPlace::take(const std::string& path) {
  SocketPlace place;
  place.generation_ = fork_generation();
  std::string wanted = path;
  if (wanted.empty()) {
    PASSEL_TRY(place.directory_, new_directory());
    wanted = place.directory_ + std::string{own_socket};
  }
  PASSEL_CHECK(unix_socket_address(wanted));
  PASSEL_TRY(place.lock_, lock_place(wanted));
  struct stat found {};
  if (::lstat(wanted.c_str(), &found) == 0) {
    if (!S_ISSOCK(found.st_mode)) {
      ::unlink(lock_path(wanted).c_str());
      return Error{Errc::invalid_argument, wanted + " is there, and is no socket"};
    }
    // The lock was free, so whoever listened there is gone.
    if (::unlink(wanted.c_str()) != 0) return system_error("unlink(" + wanted + ")", errno);
  }
  place.path_ = std::move(wanted);
  return place;
}

void SocketPlace::remove() noexcept {
  if (generation_ == fork_generation() && !path_.empty()) {
    ::unlink(path_.c_str());
    ::unlink(lock_path(path_).c_str());
  }
  if (generation_ == fork_generation() && !directory_.empty()) ::rmdir(directory_.c_str());
  path_.clear();
  directory_.clear();
  lock_.reset();
}

void SocketPlace::swap(SocketPlace& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(directory_, other.directory_);
  std::swap(lock_, other.lock_);
  std::swap(generation_, other.generation_);
}

}  // namespace detail
}  // namespace passel::inline v0
