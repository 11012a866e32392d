// Layer transport, tests: values and bytes made by chance, and bytes that somebody damaged.
#include <passel/codec.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace {

using passel::Errc;
using passel::WireValue;
using passel::detail::decode;
using passel::detail::decode_value;
using passel::detail::encode;
using passel::detail::encode_value;

class RandomValues {
 public:
  explicit RandomValues(std::uint32_t seed) : random_{seed} {}

  WireValue make(int depth = 0) {
    switch (below(depth > 4 ? 9 : 13)) {
      case 0: return {};
      case 1: return below(2) == 1;
      case 2: return static_cast<std::int64_t>(wide() >> below(64));
      case 3: return wide();
      case 4: return passel::BigInt{below(2) == 1, bytes<std::uint8_t>()};
      case 5: return static_cast<double>(wide()) / 3e7;
      case 6: return text();
      case 7: return bytes<std::byte>();
      case 8: {
        auto data = bytes<std::byte>();
        data.resize(data.size() / 8 * 8);
        return passel::NumberArray{static_cast<passel::NumberType>(1 + below(10)), std::move(data)};
      }
      case 9: return WireValue::list(items(depth));
      case 10: return WireValue::tuple(items(depth));
      case 11: return WireValue::set(items(depth));
      default: {
        WireValue::Entries entries;
        for (std::uint32_t n = below(4); n > 0; --n)
          entries.emplace_back(make(depth + 1), make(depth + 1));
        return WireValue::map(std::move(entries));
      }
    }
  }

  std::uint32_t below(std::uint32_t limit) { return static_cast<std::uint32_t>(random_() % limit); }

 private:
  std::uint64_t wide() { return random_(); }
  std::string text() {
    std::string out(below(30), ' ');
    for (char& c : out) c = static_cast<char>(below(128));
    return out;
  }
  template <class T>
  std::vector<T> bytes() {
    std::vector<T> out(below(40));
    for (T& byte : out) byte = static_cast<T>(below(256));
    return out;
  }
  WireValue::Items items(int depth) {
    WireValue::Items out;
    for (std::uint32_t n = below(5); n > 0; --n) out.push_back(make(depth + 1));
    return out;
  }

  std::mt19937_64 random_;
};

TEST(Codec, RandomValuesGoThereAndBack) {
  const std::uint32_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  RandomValues values{seed};
  for (int i = 0; i < 3000; ++i) {
    const WireValue sent = values.make();
    const auto encoded = encode_value(sent);
    ASSERT_TRUE(encoded.is_ok()) << encoded.error().to_string();
    const auto back = decode_value(encoded->bytes);
    ASSERT_TRUE(back.is_ok()) << back.error().to_string() << " for " << sent.to_string();
    ASSERT_EQ(*back, sent) << sent.to_string();
    ASSERT_EQ(back->hash(), sent.hash()) << sent.to_string();
  }
}

TEST(Codec, DamagedBytesNeverCrash) {
  const std::uint32_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  RandomValues values{seed};
  for (int i = 0; i < 300; ++i) {
    const auto encoded =
        encode_value(WireValue::list({values.make(), values.make(), "some text"})).unwrap();
    for (std::size_t size = 0; size < encoded.bytes.size(); size += 1 + size / 16) {
      ASSERT_TRUE(decode_value(std::span{encoded.bytes}.first(size)).is_err()) << size;
    }
    for (int round = 0; round < 20; ++round) {
      auto damaged = encoded.bytes;
      for (std::uint32_t n = 1 + values.below(3); n > 0; --n) {
        damaged[values.below(static_cast<std::uint32_t>(damaged.size()))] ^= std::byte{1}
                                                                             << values.below(8);
      }
      const auto read = decode_value(damaged);
      static_cast<void>(read.is_ok() ? read->to_string() : read.error().to_string());
    }
  }
}

TEST(Codec, AHugeListOfNothingIsRefused) {
  auto bytes = encode_value(WireValue::list({})).unwrap().bytes;
  // Behind the header: segment table, root pointer, two words of data, the pointer to the list.
  const std::size_t at = 8 + 4 * 8;
  ASSERT_GE(bytes.size(), at + 8);
  // A list pointer (1) to 2^29 - 1 elements of no size.
  const std::uint64_t pointer = 1 | (((std::uint64_t{1} << 29) - 1) << 35);
  std::memcpy(bytes.data() + at, &pointer, sizeof pointer);
  const auto refused = decode_value(bytes);
  ASSERT_TRUE(refused.is_err());
  EXPECT_TRUE(refused.error() == Errc::malformed);
}

TEST(Codec, NonsenseIsMalformed) {
  EXPECT_TRUE(decode_value({}).error() == Errc::malformed);
  std::vector<std::byte> bytes(16);
  EXPECT_TRUE(decode_value(bytes).error() == Errc::malformed);
  bytes[0] = std::byte{1};
  EXPECT_TRUE(decode_value(bytes).error() == Errc::malformed);
  bytes[1] = std::byte{2};
  bytes[2] = std::byte{99};
  EXPECT_TRUE(decode_value(bytes).error() == Errc::malformed);
  auto flag = encode(true).unwrap().bytes;
  flag.back() = std::byte{2};
  EXPECT_TRUE(decode<bool>(flag).error() == Errc::malformed);
  auto number = encode(5).unwrap().bytes;
  number.push_back(std::byte{0});
  EXPECT_TRUE(decode<int>(number).error() == Errc::malformed);
}

}  // namespace
