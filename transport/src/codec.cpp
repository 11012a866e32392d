// Layer transport: the parts of encoding that need no template: errors with paths, text, durations,
// whole messages.
#include <passel/codec.hpp>
#include <passel/detail/brief_text.hpp>
#include <passel/detail/spare_buffers.hpp>

#include "value_wire.hpp"

#include <capnp/message.h>

#include <array>
#include <cmath>
#include <cstring>
#include <limits>

namespace passel::inline v0::detail {
namespace {

constexpr std::string_view path_start = " at value";
constexpr std::size_t max_shown = 60;

std::string shown(const WireValue& value) {
  std::string out{to_string(value.kind())};
  if (value.is_none()) return out;
  if (const auto* items = value.items()) return out + " of " + std::to_string(items->size());
  if (const auto* entries = value.entries()) return out + " of " + std::to_string(entries->size());
  if (const auto* numbers = value.numbers()) {
    return out + " of " + std::to_string(numbers->size()) + " " +
           std::string{to_string(numbers->type)};
  }
  return out + " " + brief_text(value);
}

Error out_of_range(const WireValue& value, std::string_view expected, const std::string& lowest,
                   const std::string& highest) {
  std::string text{"expected "};
  ((text += expected) += " from " + lowest) += " to " + highest;
  return {Errc::type_mismatch, ((text += ", found ") += brief_text(value)) += path_start};
}

// Cap'n Proto and Python mean UTF-8 when they say text. Well-formed in the sense of RFC 3629.
bool is_utf8(std::string_view text) noexcept {
  const auto* at = reinterpret_cast<const unsigned char*>(text.data());
  const auto* const end = at + text.size();
  while (at != end) {
    std::uint64_t eight = 0;
    if (end - at >= 8 && (std::memcpy(&eight, at, 8), (eight & 0x8080808080808080U) == 0)) {
      at += 8;
      continue;
    }
    const unsigned char c = *at++;
    if (c < 0x80) continue;
    const int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
    if (c < 0xc2 || c > 0xf4 || end - at < more) return false;
    const unsigned char lowest = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    const unsigned char highest = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    if (*at < lowest || *at > highest) return false;
    for (int i = 1; i < more; ++i) {
      if ((at[i] & 0xc0) != 0x80) return false;
    }
    at += more;
  }
  return true;
}

struct DurationParts {
  const WireValue* count;
  std::int64_t num;
  std::int64_t den;
};

Result<DurationParts> duration_parts(const WireValue& value) {
  const WireValue::Items* items = value.items();
  if (items == nullptr || items->size() != 3)
    return mismatch("duration (count, numerator, denominator)", value);
  const auto num = (*items)[1].as_int64();
  const auto den = (*items)[2].as_int64();
  if (!num || !den || *num <= 0 || *den <= 0)
    return mismatch("duration (count, numerator, denominator)", value);
  return DurationParts{&(*items)[0], *num, *den};
}

__extension__ using Wide = __int128;

std::byte form_byte(EncodedForm form) noexcept { return static_cast<std::byte>(form); }

void write_header(std::vector<std::byte>& out, EncodedForm form) {
  out.assign(encoded_header_size, std::byte{0});
  out[0] = form_byte(form);
}

bool has_form(std::span<const std::byte> bytes, EncodedForm form) noexcept {
  return bytes.size() >= encoded_header_size && bytes[0] == form_byte(form);
}

Error no_message(std::span<const std::byte> bytes) {
  if (bytes.size() < encoded_header_size) {
    return {Errc::malformed,
            "encoded value of " + std::to_string(bytes.size()) + " bytes has no complete header"};
  }
  return {Errc::malformed, "encoded value has form " +
                               std::to_string(std::to_integer<int>(bytes[0])) +
                               ", which is unknown here"};
}

// Raw bytes that are read as something else than what was written, or that nobody knows the type
// of.
Result<WireValue> raw_value(std::span<const std::byte> bytes) {
  const auto shape = static_cast<RawShape>(bytes[1]);
  const auto type = static_cast<NumberType>(bytes[2]);
  const auto rest = bytes.subspan(encoded_header_size);
  switch (shape) {
    case RawShape::boolean:
      return raw_read<bool>(rest).map([](bool flag) { return WireValue{flag}; });
    case RawShape::text:
      return write_text({reinterpret_cast<const char*>(rest.data()), rest.size()});
    case RawShape::bytes: return WireValue{WireValue::Bytes(rest.begin(), rest.end())};
    case RawShape::number:
    case RawShape::numbers: {
      const std::size_t size = size_of(type);
      if (size == 0 || rest.size() % size != 0) return wrong_raw_size(to_string(type), rest.size());
      NumberArray numbers{type, WireValue::Bytes(rest.begin(), rest.end())};
      if (shape == RawShape::numbers) return WireValue{std::move(numbers)};
      if (numbers.size() != 1) return wrong_raw_size(to_string(type), rest.size());
      return numbers.at(0);
    }
  }
  return Error{Errc::malformed,
               "raw value of unknown shape " + std::to_string(std::to_integer<int>(bytes[1]))};
}

}  // namespace

Error mismatch(std::string_view expected, const WireValue& found) {
  std::string text{"expected "};
  ((text += expected) += ", found ") += shown(found);
  return {Errc::type_mismatch, text += path_start};
}

Error wrong_length(std::string_view expected, std::size_t count, const WireValue& found) {
  return mismatch(std::string{expected} + " (" + std::to_string(count) + " items)", found);
}

Error at_step(const Error& error, std::string_view step) {
  std::string text = error.what();
  if (const std::size_t path = text.rfind(path_start); path != text.npos) {
    text.insert(path + path_start.size(), step);
  } else {
    (text += path_start) += step;
  }
  return {error.code(), std::move(text), error.detail_pointer()};
}

std::string cut_text(std::string text, std::size_t most) {
  if (text.size() <= most) return text;
  std::size_t end = most;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  text.resize(end);
  return text += "...";
}

std::size_t least_encoded_size(const WireValue& value) noexcept {
  constexpr std::size_t each = 16;
  std::size_t size = 0;
  if (const auto* items = value.items())
    for (const WireValue& item : *items) size += each + least_encoded_size(item);
  if (const auto* entries = value.entries())
    for (const auto& [key, item] : *entries)
      size += 2 * each + least_encoded_size(key) + least_encoded_size(item);
  if (const auto* text = value.as_text()) size = text->size();
  if (const auto* bytes = value.as_bytes()) size = bytes->size();
  if (const auto* numbers = value.numbers()) size = numbers->data.size();
  if (const auto* big = value.as_big()) size = big->magnitude.size();
  if (const auto* foreign = value.foreign()) size = foreign->data.size();
  if (const auto* handle = value.handle()) size = handle->type.size();
  return size;
}

std::string brief_text(const WireValue& value) { return text_within(value, max_shown); }

Error at_index(const Error& error, std::size_t index) {
  return at_step(error, "[" + std::to_string(index) + "]");
}

Error at_key(const Error& error, const WireValue& key) {
  return at_step(error, "[" + brief_text(key) + "]");
}

Error wrong_raw_size(std::string_view expected, std::size_t size) {
  return {Errc::malformed, std::to_string(size) + " raw bytes cannot be " + std::string{expected}};
}

Result<std::int64_t> read_signed(const WireValue& value, std::int64_t lowest, std::int64_t highest,
                                 std::string_view expected) {
  if (value.kind() != ValueKind::integer) return mismatch(expected, value);
  const auto number = value.as_int64();
  if (number && *number >= lowest && *number <= highest) return *number;
  return out_of_range(value, expected, std::to_string(lowest), std::to_string(highest));
}

Result<std::uint64_t> read_unsigned(const WireValue& value, std::uint64_t highest,
                                    std::string_view expected) {
  if (value.kind() != ValueKind::integer) return mismatch(expected, value);
  const auto number = value.as_uint64();
  if (number && *number <= highest) return *number;
  return out_of_range(value, expected, "0", std::to_string(highest));
}

Result<double> read_double(const WireValue& value, std::string_view expected) {
  if (const auto number = value.as_double()) return *number;
  if (value.kind() != ValueKind::integer) return mismatch(expected, value);
  constexpr std::int64_t exact = std::int64_t{1} << 53;
  const auto number = value.as_int64();
  if (number && *number >= -exact && *number <= exact) return static_cast<double>(*number);
  return out_of_range(value, expected, std::to_string(-exact), std::to_string(exact));
}

Result<float> read_float(const WireValue& value) {
  PASSEL_TRY(const double number, read_double(value, "float"));
  constexpr double highest = std::numeric_limits<float>::max();
  if (std::isfinite(number) && (number > highest || number < -highest)) {
    return out_of_range(value, "float", WireValue{-highest}.to_string(),
                        WireValue{highest}.to_string());
  }
  return static_cast<float>(number);
}

WireValue write_text(std::string_view text) {
  if (is_utf8(text)) return text;
  const auto* from = reinterpret_cast<const std::byte*>(text.data());
  return WireValue::Bytes(from, from + text.size());
}

Result<std::string> read_text(const WireValue& value, std::string_view expected) {
  if (const std::string* text = value.as_text()) return *text;
  if (const WireValue::Bytes* bytes = value.as_bytes()) {
    return std::string{reinterpret_cast<const char*>(bytes->data()), bytes->size()};
  }
  return mismatch(expected, value);
}

WireValue write_duration(WireValue count, std::intmax_t num, std::intmax_t den) {
  return WireValue::tuple({std::move(count), num, den});
}

Result<std::int64_t> read_whole_duration(const WireValue& value, std::intmax_t num,
                                         std::intmax_t den) {
  PASSEL_TRY(const DurationParts parts, duration_parts(value));
  constexpr std::int64_t lowest = std::numeric_limits<std::int64_t>::min();
  constexpr std::int64_t highest = std::numeric_limits<std::int64_t>::max();
  auto count = read_signed(*parts.count, lowest, highest, "count of a duration");
  if (!count) return at_step(count.error(), ".0");
  if (parts.num == num && parts.den == den) return *count;
  // count * (their num / their den) / (num / den), cancelled first so that it cannot overflow for
  // sensible units.
  const Wide up = static_cast<Wide>(parts.num) * den;
  const Wide down = static_cast<Wide>(parts.den) * num;
  const Wide scaled = static_cast<Wide>(*count) * (up % down == 0 ? up / down : 1);
  if (up % down == 0 && (up / down > highest || scaled > highest || scaled < lowest)) {
    return mismatch("duration within 64 bits of its unit", value);
  }
  if (up % down == 0) return static_cast<std::int64_t>(scaled);
  if (down % up == 0 && *count % (down / up) == 0)
    return static_cast<std::int64_t>(*count / (down / up));
  return mismatch(
      "whole number of units of " + std::to_string(num) + "/" + std::to_string(den) + " s", value);
}

Result<double> read_real_duration(const WireValue& value, std::intmax_t num, std::intmax_t den) {
  PASSEL_TRY(const DurationParts parts, duration_parts(value));
  auto count = read_double(*parts.count, "count of a duration");
  if (!count) return at_step(count.error(), ".0");
  if (parts.num == num && parts.den == den) return *count;
  const double unit = static_cast<double>(num) / static_cast<double>(den);
  return *count * (static_cast<double>(parts.num) / static_cast<double>(parts.den)) / unit;
}

WireValue write_error(const Error& error) {
  WireValue detail;
  if (const auto* lost = error.detail<WorkerLost>()) {
    detail = WireValue::tuple({"worker_lost", lost->pid, lost->exit_code, lost->signal, lost->task,
                               lost->attempt, static_cast<std::uint32_t>(lost->cause),
                               lost->peak_rss, to_value(lost->last_lines)});
  } else if (const auto* remote = error.detail<RemoteError>()) {
    WireValue::Items causes;
    for (const auto& cause : remote->causes)
      causes.push_back(WireValue::tuple({cause.type_name, cause.what}));
    detail = WireValue::tuple(
        {"remote_error", remote->type_name, remote->what, WireValue::list(std::move(causes))});
  }
  return WireValue::tuple({static_cast<int>(error.code()), error.what(), std::move(detail)});
}

std::optional<Error> read_error(const WireValue& value) {
  const WireValue::Items* items = value.items();
  if (items == nullptr || items->size() != 3) return std::nullopt;
  const auto code = (*items)[0].as_uint64();
  const std::string* what = (*items)[1].as_text();
  if (!code || *code == 0 || *code > static_cast<unsigned>(Errc::system) || what == nullptr)
    return std::nullopt;
  const auto plain = static_cast<Errc>(*code);
  if ((*items)[2].is_none()) return Error{plain, *what};
  using Lost = std::tuple<std::string, int, int, int, std::string, unsigned, std::uint32_t,
                          std::uint64_t, std::vector<std::string>>;
  if (auto lost = codec<Lost>::decode((*items)[2])) {
    auto detail = std::make_shared<WorkerLost>();
    std::string kind;
    std::uint32_t cause = 0;
    std::tie(kind, detail->pid, detail->exit_code, detail->signal, detail->task, detail->attempt,
             cause, detail->peak_rss, detail->last_lines) = *std::move(lost);
    if (kind != "worker_lost" || cause > static_cast<std::uint32_t>(LossCause::overtime))
      return std::nullopt;
    detail->cause = static_cast<LossCause>(cause);
    return Error{plain, *what, std::move(detail)};
  }
  using Causes = std::vector<std::pair<std::string, std::string>>;
  if (auto remote =
          codec<std::tuple<std::string, std::string, std::string, Causes>>::decode((*items)[2])) {
    auto detail = std::make_shared<RemoteError>();
    auto& [kind, type_name, text, causes] = *remote;
    if (kind != "remote_error") return std::nullopt;
    detail->type_name = std::move(type_name);
    detail->what = std::move(text);
    for (auto& [name, why] : causes) detail->causes.push_back({std::move(name), std::move(why)});
    return Error{plain, *what, std::move(detail)};
  }
  return std::nullopt;
}

Result<const WireValue*> read_result(const WireValue& value, bool& ok) {
  const WireValue::Items* items = value.items();
  if (items == nullptr || items->size() != 2)
    return mismatch("Result (flag, value or error)", value);
  const auto flag = (*items)[0].as_bool();
  if (!flag) return at_step(mismatch("bool", (*items)[0]), ".0");
  ok = *flag;
  return &(*items)[1];
}

void write_raw_header(RawTag tag, std::byte* to) noexcept {
  to[0] = form_byte(EncodedForm::raw);
  to[1] = static_cast<std::byte>(tag.shape);
  to[2] = static_cast<std::byte>(tag.number);
}

Encoded start_raw(RawTag tag, std::size_t size) {
  Encoded out;
  out.bytes = take_buffer(encoded_header_size + size);
  out.bytes.resize(encoded_header_size + size);
  write_raw_header(tag, out.bytes.data());
  return out;
}

std::optional<std::span<const std::byte>> raw_bytes(std::span<const std::byte> bytes,
                                                    RawTag tag) noexcept {
  if (!has_form(bytes, EncodedForm::raw)) return std::nullopt;
  if (RawTag{static_cast<RawShape>(bytes[1]), static_cast<NumberType>(bytes[2])} != tag)
    return std::nullopt;
  return bytes.subspan(encoded_header_size);
}

Result<Encoded> encode_value(const WireValue& value) {
  // Of these a copy is enough.
  if (const auto* text = value.as_text()) return encode(*text);
  if (const auto* bytes = value.as_bytes()) return encode(*bytes);
  // The first segment lies on the stack: most messages need no other.
  std::array<capnp::word, 512> scratch;
  std::memset(scratch.data(), 0, sizeof scratch);
  capnp::MallocMessageBuilder message{kj::arrayPtr(scratch.data(), scratch.size())};
  Encoded out;
  PASSEL_CHECK(write_value(value, message.initRoot<wire::Value>(), out));
  write_header(out.bytes, EncodedForm::value);
  append_message(message, out.bytes);
  return out;
}

Result<WireValue> decode_value(std::span<const std::byte> bytes, DescriptorSpan descriptors) {
  if (has_form(bytes, EncodedForm::raw)) return raw_value(bytes);
  if (!has_form(bytes, EncodedForm::value)) return no_message(bytes);
  return with_message(bytes.subspan(encoded_header_size),
                      [&](capnp::FlatArrayMessageReader& message) {
                        return read_wire_value(message.getRoot<wire::Value>(), descriptors);
                      });
}

Encoded encode_error(const Error& error) {
  capnp::MallocMessageBuilder message;
  write_wire_error(error, message.initRoot<wire::Error>());
  Encoded out;
  write_header(out.bytes, EncodedForm::error);
  append_message(message, out.bytes);
  return out;
}

Error decode_error(std::span<const std::byte> bytes) {
  if (!has_form(bytes, EncodedForm::error)) return no_message(bytes);
  std::optional<Error> found;
  auto read =
      with_message(bytes.subspan(encoded_header_size), [&](capnp::FlatArrayMessageReader& message) {
        found = read_wire_error(message.getRoot<wire::Error>());
        return Result<void>{};
      });
  return read ? *std::move(found) : read.error();
}

}  // namespace passel::inline v0::detail
