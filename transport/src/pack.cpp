// Layer transport: several encoded values one behind the other, the argument list of a task.
//
// Header (form, three zeros, u32 number of values), then for each value u32 length, u32 number of
// descriptors, the encoded value, zeros up to a multiple of 8.
#include <passel/codec.hpp>
#include <passel/detail/spare_buffers.hpp>

#include <cstring>
#include <limits>

namespace passel::inline v0::detail {
namespace {

struct PartHeader {
  std::uint32_t length;
  std::uint32_t descriptors;
};
static_assert(sizeof(PartHeader) == 8);

constexpr std::size_t round_up(std::size_t size) noexcept { return (size + 7) / 8 * 8; }

}  // namespace

PackWriter::PackWriter(std::size_t count, std::size_t size) {
  out_.bytes = take_buffer(size);
  out_.bytes.resize(encoded_header_size);
  out_.bytes[0] = static_cast<std::byte>(EncodedForm::pack);
  const auto number = static_cast<std::uint32_t>(count);
  std::memcpy(out_.bytes.data() + 4, &number, sizeof number);
}

Result<std::byte*> PackWriter::start_part(std::size_t size, std::size_t descriptors) {
  if (size > std::numeric_limits<std::uint32_t>::max()) {
    return Error{Errc::too_large, "an argument of " + std::to_string(size) + " bytes, limit " +
                                      std::to_string(std::numeric_limits<std::uint32_t>::max())};
  }
  const PartHeader header{static_cast<std::uint32_t>(size),
                          static_cast<std::uint32_t>(descriptors)};
  const std::size_t start = out_.bytes.size();
  out_.bytes.resize(start + sizeof header + round_up(size));
  std::memcpy(out_.bytes.data() + start, &header, sizeof header);
  return out_.bytes.data() + start + sizeof header;
}

Result<std::byte*> PackWriter::start_raw_part(RawTag tag, std::size_t size) {
  PASSEL_TRY(std::byte* const to, start_part(encoded_header_size + size, 0));
  write_raw_header(tag, to);
  return to + encoded_header_size;
}

Result<void> PackWriter::add(const WireValue& value) {
  if (const auto* text = value.as_text()) return add_raw(*text);
  if (const auto* bytes = value.as_bytes()) return add_raw(*bytes);
  return add(encode_value(value));
}

Result<void> PackWriter::add(Result<Encoded> part) {
  if (!part) return part.error();
  PASSEL_TRY(std::byte* const to, start_part(part->bytes.size(), part->descriptors.size()));
  std::memcpy(to, part->bytes.data(), part->bytes.size());
  for (auto& descriptor : part->descriptors) out_.descriptors.push_back(std::move(descriptor));
  for (auto& object : part->objects) out_.objects.push_back(std::move(object));
  return {};
}

Result<void> PackReader::open(std::size_t count) {
  if (bytes_.size() < encoded_header_size ||
      bytes_[0] != static_cast<std::byte>(EncodedForm::pack)) {
    return Error{Errc::malformed, std::to_string(bytes_.size()) + " bytes are no argument list"};
  }
  std::uint32_t found = 0;
  std::memcpy(&found, bytes_.data() + 4, sizeof found);
  if (found != count) {
    return Error{Errc::type_mismatch, "expected " + std::to_string(count) + " arguments, found " +
                                          std::to_string(found)};
  }
  at_ = encoded_header_size;
  return {};
}

Result<PackReader::Part> PackReader::next() {
  PartHeader header{};
  if (bytes_.size() - at_ < sizeof header)
    return Error{Errc::malformed, "argument list ends early"};
  std::memcpy(&header, bytes_.data() + at_, sizeof header);
  const std::size_t start = at_ + sizeof header;
  if (bytes_.size() - start < round_up(header.length) || descriptors_.size() < header.descriptors) {
    return Error{Errc::malformed, "argument of " + std::to_string(header.length) + " bytes and " +
                                      std::to_string(header.descriptors) +
                                      " descriptors in a list of " + std::to_string(bytes_.size()) +
                                      " bytes and " + std::to_string(descriptors_.size()) +
                                      " descriptors"};
  }
  const Part part{bytes_.subspan(start, header.length), descriptors_.first(header.descriptors)};
  at_ = start + round_up(header.length);
  descriptors_ = descriptors_.subspan(header.descriptors);
  return part;
}

}  // namespace passel::inline v0::detail
