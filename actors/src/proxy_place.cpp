// Layer actors: how a proxy is written on its way from one process to another.
#include "proxy_place.hpp"

#include <sys/random.h>

#include <charconv>
#include <string_view>
#include <system_error>
#include <vector>

namespace passel::inline v0::detail {
namespace {

constexpr std::size_t all_lines = 6;

/// The last one may have line breaks in it: it is a path.
std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (true) {
    const std::size_t end = lines.size() + 1 < all_lines ? text.find('\n') : text.npos;
    lines.push_back(text.substr(0, end));
    if (end == text.npos) return lines;
    text.remove_prefix(end + 1);
  }
}

template <class Number>
std::optional<Number> number_in(std::string_view text) {
  Number number = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failed != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

WireValue write_proxy(const ProxyPlace& place, std::uint64_t ticket) {
  std::string text =
      place.type + '\n' + std::to_string(place.epoch) + '\n' + std::to_string(ticket) + '\n';
  if (const auto* tcp = std::get_if<TcpAddress>(&place.address)) {
    text += "tcp\n" + std::to_string(tcp->port) + '\n' + tcp->host;
  } else {
    text += "unix\n0\n" + std::get<UnixAddress>(place.address).path;
  }
  return WireValue{Handle{proxy_kind, std::move(text), place.object, nullptr, nullptr}};
}

std::optional<ProxyTicket> read_proxy(const WireValue& value) {
  const Handle* handle = value.handle();
  if (handle == nullptr || handle->kind != proxy_kind) return std::nullopt;
  const auto lines = lines_of(handle->type);
  if (lines.size() != all_lines) return std::nullopt;
  const auto epoch = number_in<std::uint64_t>(lines[1]);
  const auto ticket = number_in<std::uint64_t>(lines[2]);
  const auto port = number_in<std::uint16_t>(lines[4]);
  if (!epoch || !ticket || !port) return std::nullopt;
  ProxyTicket found;
  found.place.type = lines[0];
  found.place.epoch = *epoch;
  found.place.object = handle->id;
  found.ticket = *ticket;
  if (lines[3] == "tcp") {
    found.place.address = TcpAddress{std::string{lines[5]}, *port};
  } else {
    found.place.address = UnixAddress{std::string{lines[5]}};
  }
  return found;
}

std::uint64_t fresh_number() {
  std::uint64_t number = 0;
  while (number == 0)
    if (::getrandom(&number, sizeof number, 0) != sizeof number) number = 0;
  return number;
}

}  // namespace passel::inline v0::detail
