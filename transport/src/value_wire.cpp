// Layer transport: Values and Errors to and from Cap'n Proto.
#include "value_wire.hpp"

#include <kj/io.h>

#include <bit>
#include <cstring>

namespace passel::inline v0::detail {
namespace {

static_assert(std::endian::native == std::endian::little,
              "arrays of numbers travel little-endian, as they lie in memory");

constexpr std::uint32_t no_descriptor = 0xffffffffU;

capnp::Data::Reader data_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const kj::byte*>(bytes.data()), bytes.size()};
}
capnp::Text::Reader text_of(const std::string& text) { return {text.c_str(), text.size()}; }
std::string to_text(capnp::Text::Reader text) { return {text.begin(), text.size()}; }
WireValue::Bytes to_bytes(capnp::Data::Reader data) {
  const auto* from = reinterpret_cast<const std::byte*>(data.begin());
  return WireValue::Bytes(from, from + data.size());
}

class Writer {
 public:
  explicit Writer(Encoded& beside) : beside_{beside} {}

  Result<void> write(const WireValue& value, wire::Value::Builder to, int depth) {
    if (depth > max_value_depth) {
      return Error{Errc::too_large,
                   "value is nested deeper than " + std::to_string(max_value_depth) + " levels"};
    }
    switch (value.kind()) {
      case ValueKind::none: to.setNone(); return {};
      case ValueKind::boolean: to.setBoolean(*value.as_bool()); return {};
      case ValueKind::integer: write_integer(value, to); return {};
      case ValueKind::floating: to.setFloat64(*value.as_double()); return {};
      case ValueKind::text: to.setText(text_of(*value.as_text())); return {};
      case ValueKind::bytes: to.setBytes(data_of(*value.as_bytes())); return {};
      case ValueKind::list: return items(value, to.initList(count(*value.items())), depth);
      case ValueKind::tuple: return items(value, to.initTuple(count(*value.items())), depth);
      case ValueKind::set: return items(value, to.initSet(count(*value.items())), depth);
      case ValueKind::map:
        return entries(*value.entries(), to.initMap(count(*value.entries())), depth);
      case ValueKind::numbers: {
        auto numbers = to.initNumbers();
        numbers.setType(static_cast<std::uint8_t>(value.numbers()->type));
        numbers.setData(data_of(value.numbers()->data));
        return {};
      }
      case ValueKind::handle: write_handle(*value.handle(), to.initHandle()); return {};
      case ValueKind::foreign: {
        auto foreign = to.initForeign();
        foreign.setFormat(text_of(value.foreign()->format));
        foreign.setType(text_of(value.foreign()->type));
        foreign.setData(data_of(value.foreign()->data));
        return {};
      }
    }
    return {};
  }

 private:
  template <class C>
  static unsigned count(const C& items) {
    return static_cast<unsigned>(items.size());
  }

  static void write_integer(const WireValue& value, wire::Value::Builder to) {
    if (const auto number = value.as_int64()) {
      to.setInt64(*number);
    } else if (const BigInt* big = value.as_big()) {
      auto out = to.initBig();
      out.setNegative(big->negative);
      out.setMagnitude({big->magnitude.data(), big->magnitude.size()});
    } else {
      to.setUint64(*value.as_uint64());
    }
  }

  Result<void> items(const WireValue& value, capnp::List<wire::Value>::Builder to, int depth) {
    unsigned index = 0;
    for (const WireValue& item : *value.items()) PASSEL_CHECK(write(item, to[index++], depth + 1));
    return {};
  }

  Result<void> entries(const WireValue::Entries& map, capnp::List<wire::Entry>::Builder to,
                       int depth) {
    unsigned index = 0;
    for (const auto& [key, item] : map) {
      auto entry = to[index++];
      PASSEL_CHECK(write(key, entry.initKey(), depth + 1));
      PASSEL_CHECK(write(item, entry.initValue(), depth + 1));
    }
    return {};
  }

  void write_handle(const Handle& handle, wire::Handle::Builder to) {
    to.setKind(text_of(handle.kind));
    to.setType(text_of(handle.type));
    to.setId(handle.id);
    if (handle.descriptor) {
      to.setDescriptor(static_cast<std::uint32_t>(beside_.descriptors.size()));
      beside_.descriptors.push_back(handle.descriptor);
    }
    if (handle.object) beside_.objects.push_back(handle.object);
  }

  Encoded& beside_;
};

class Reader {
 public:
  explicit Reader(DescriptorSpan descriptors) : descriptors_{descriptors} {}

  Result<WireValue> read(wire::Value::Reader from, int depth) {
    if (depth > max_value_depth) {
      return Error{Errc::malformed,
                   "value is nested deeper than " + std::to_string(max_value_depth) + " levels"};
    }
    switch (from.which()) {
      case wire::Value::NONE: return WireValue{};
      case wire::Value::BOOLEAN: return WireValue{from.getBoolean()};
      case wire::Value::INT64: return WireValue{from.getInt64()};
      case wire::Value::UINT64: return WireValue{from.getUint64()};
      case wire::Value::BIG: {
        const auto magnitude = from.getBig().getMagnitude();
        return WireValue{BigInt{from.getBig().getNegative(), {magnitude.begin(), magnitude.end()}}};
      }
      case wire::Value::FLOAT64: return WireValue{from.getFloat64()};
      case wire::Value::TEXT: {
        const auto text = from.getText();
        return write_text({text.begin(), text.size()});
      }
      case wire::Value::BYTES: return WireValue{to_bytes(from.getBytes())};
      case wire::Value::LIST: return items(from.getList(), depth).map(&WireValue::list);
      case wire::Value::TUPLE: return items(from.getTuple(), depth).map(&WireValue::tuple);
      case wire::Value::SET: return items(from.getSet(), depth).map(&WireValue::set);
      case wire::Value::MAP: return entries(from.getMap(), depth);
      case wire::Value::NUMBERS: return numbers(from.getNumbers());
      case wire::Value::HANDLE: return handle(from.getHandle());
      case wire::Value::FOREIGN: {
        const auto foreign = from.getForeign();
        return WireValue{Foreign{to_text(foreign.getFormat()), to_text(foreign.getType()),
                                 to_bytes(foreign.getData())}};
      }
    }
    return Error{Errc::malformed,
                 "value of unknown kind " + std::to_string(static_cast<unsigned>(from.which()))};
  }

 private:
  Result<WireValue::Items> items(capnp::List<wire::Value>::Reader from, int depth) {
    WireValue::Items out;
    out.reserve(from.size());
    for (const auto item : from) {
      PASSEL_TRY(WireValue value, read(item, depth + 1));
      out.push_back(std::move(value));
    }
    return out;
  }

  Result<WireValue> entries(capnp::List<wire::Entry>::Reader from, int depth) {
    WireValue::Entries out;
    out.reserve(from.size());
    for (const auto entry : from) {
      PASSEL_TRY(WireValue key, read(entry.getKey(), depth + 1));
      PASSEL_TRY(WireValue value, read(entry.getValue(), depth + 1));
      out.emplace_back(std::move(key), std::move(value));
    }
    return WireValue::map(std::move(out));
  }

  static Result<WireValue> numbers(wire::NumberArray::Reader from) {
    const auto type = static_cast<NumberType>(from.getType());
    const auto data = from.getData();
    const std::size_t size = size_of(type);
    if (size == 0)
      return Error{Errc::malformed, "array of unknown type " + std::to_string(from.getType())};
    if (data.size() % size != 0) {
      return Error{Errc::malformed, "array of " + std::string{to_string(type)} + " has " +
                                        std::to_string(data.size()) + " bytes, no multiple of " +
                                        std::to_string(size)};
    }
    return WireValue{NumberArray{type, to_bytes(data)}};
  }

  Result<WireValue> handle(wire::Handle::Reader from) {
    Handle out{to_text(from.getKind()), to_text(from.getType()), from.getId(), nullptr, nullptr};
    if (const std::uint32_t index = from.getDescriptor(); index != no_descriptor) {
      if (index >= descriptors_.size()) {
        return Error{Errc::malformed, "handle names descriptor " + std::to_string(index) + " of " +
                                          std::to_string(descriptors_.size())};
      }
      out.descriptor = descriptors_[index];
    }
    return WireValue{std::move(out)};
  }

  DescriptorSpan descriptors_;
};

}  // namespace

Result<void> write_value(const WireValue& value, wire::Value::Builder to, Encoded& beside) {
  return Writer{beside}.write(value, to, 0);
}

Result<WireValue> read_wire_value(wire::Value::Reader from, DescriptorSpan descriptors) {
  return Reader{descriptors}.read(from, 0);
}

void write_wire_error(const Error& error, wire::Error::Builder to) {
  to.setCode(static_cast<std::uint16_t>(error.code()));
  to.setWhat(text_of(error.what()));
  if (const auto* lost = error.detail<WorkerLost>()) {
    auto out = to.initWorkerLost();
    out.setPid(lost->pid);
    out.setExitCode(lost->exit_code);
    out.setSignal(lost->signal);
    out.setTask(text_of(lost->task));
    out.setAttempt(lost->attempt);
    out.setCause(static_cast<std::uint32_t>(lost->cause));
    out.setPeakRss(lost->peak_rss);
    auto lines = out.initLastLines(static_cast<unsigned>(lost->last_lines.size()));
    for (unsigned i = 0; i < lines.size(); ++i) lines.set(i, text_of(lost->last_lines[i]));
  } else if (const auto* remote = error.detail<RemoteError>()) {
    auto out = to.initRemoteError();
    out.setTypeName(text_of(remote->type_name));
    out.setWhat(text_of(remote->what));
    auto causes = out.initCauses(static_cast<unsigned>(remote->causes.size()));
    for (unsigned i = 0; i < causes.size(); ++i) {
      causes[i].setTypeName(text_of(remote->causes[i].type_name));
      causes[i].setWhat(text_of(remote->causes[i].what));
    }
  }
}

Error read_wire_error(wire::Error::Reader from) {
  std::string what = to_text(from.getWhat());
  Errc code = Errc::system;
  if (from.getCode() >= 1 && from.getCode() <= static_cast<unsigned>(Errc::system)) {
    code = static_cast<Errc>(from.getCode());
  } else {
    what = "unknown error code " + std::to_string(from.getCode()) + ": " + what;
  }
  if (from.isWorkerLost()) {
    const auto lost = from.getWorkerLost();
    auto detail = std::make_shared<WorkerLost>();
    detail->pid = lost.getPid();
    detail->exit_code = lost.getExitCode();
    detail->signal = lost.getSignal();
    detail->task = to_text(lost.getTask());
    detail->attempt = lost.getAttempt();
    if (lost.getCause() <= static_cast<std::uint32_t>(LossCause::overtime))
      detail->cause = static_cast<LossCause>(lost.getCause());
    detail->peak_rss = lost.getPeakRss();
    for (const auto line : lost.getLastLines()) detail->last_lines.push_back(to_text(line));
    return {code, std::move(what), std::move(detail)};
  }
  if (from.isRemoteError()) {
    auto detail = std::make_shared<RemoteError>();
    detail->type_name = to_text(from.getRemoteError().getTypeName());
    detail->what = to_text(from.getRemoteError().getWhat());
    for (const auto cause : from.getRemoteError().getCauses())
      detail->causes.push_back({to_text(cause.getTypeName()), to_text(cause.getWhat())});
    return {code, std::move(what), std::move(detail)};
  }
  return {code, std::move(what)};
}

void append_message(capnp::MessageBuilder& message, std::vector<std::byte>& out) {
  const std::size_t start = out.size();
  const std::size_t size = capnp::computeSerializedSizeInWords(message) * sizeof(capnp::word);
  out.resize(start + size);
  kj::ArrayOutputStream stream{kj::arrayPtr(reinterpret_cast<kj::byte*>(out.data() + start), size)};
  capnp::writeMessage(stream, message);
}

capnp::ReaderOptions reader_options(std::size_t words) {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = 2 * words + 64;
  // A list in a list is two levels for Cap'n Proto, an entry of a map three.
  options.nestingLimit = 3 * max_value_depth + 16;
  return options;
}

}  // namespace passel::inline v0::detail
