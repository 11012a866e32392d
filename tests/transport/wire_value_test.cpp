// Layer transport, tests: the self-describing value.
#include <passel/wire_value.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <string>
#include <unordered_map>

namespace {

using passel::BigInt;
using passel::Foreign;
using passel::Handle;
using passel::NumberArray;
using passel::NumberType;
using passel::ValueKind;
using passel::WireValue;

WireValue::Bytes bytes(std::initializer_list<int> from) {
  WireValue::Bytes out;
  for (const int byte : from) out.push_back(static_cast<std::byte>(byte));
  return out;
}

TEST(WireValue, PrintsAsPythonWould) {
  EXPECT_EQ(WireValue::list({42, nullptr, "hello"}).to_string(), "[42, None, 'hello']");
  EXPECT_EQ(WireValue::map({{1, "1"}, {"k", 2.5}}).to_string(), "{1: '1', 'k': 2.5}");
  EXPECT_EQ(WireValue::tuple({1}).to_string(), "(1,)");
  EXPECT_EQ(WireValue::tuple({1, 2}).to_string(), "(1, 2)");
  EXPECT_EQ(WireValue::tuple({}).to_string(), "()");
  EXPECT_EQ(WireValue::set({1, 2}).to_string(), "{1, 2}");
  EXPECT_EQ(WireValue::set({}).to_string(), "set()");
  EXPECT_EQ(WireValue::map({}).to_string(), "{}");
  EXPECT_EQ(WireValue{true}.to_string(), "True");
  EXPECT_EQ(WireValue{1.0}.to_string(), "1.0");
  EXPECT_EQ(WireValue{0.1}.to_string(), "0.1");
  EXPECT_EQ(WireValue{1e300}.to_string(), "1e+300");
  EXPECT_EQ(WireValue{std::numeric_limits<double>::infinity()}.to_string(), "inf");
  EXPECT_EQ(WireValue{-std::numeric_limits<double>::quiet_NaN()}.to_string(), "nan");
  EXPECT_EQ(WireValue{"it's"}.to_string(), "\"it's\"");
  EXPECT_EQ(WireValue{"both ' and \""}.to_string(), "'both \\' and \"'");
  EXPECT_EQ(WireValue{"line\nend\t\x01\\"}.to_string(), "'line\\nend\\t\\x01\\\\'");
  EXPECT_EQ(WireValue{"gr\xc3\xbc\xc3\x9f"}.to_string(), "'gr\xc3\xbc\xc3\x9f'");
  EXPECT_EQ(WireValue{bytes({0, 65, 255})}.to_string(), "b'\\x00A\\xff'");
  EXPECT_EQ((WireValue{NumberArray{NumberType::u8, bytes({1, 2})}}.to_string()),
            "array('u8', [1, 2])");
  EXPECT_EQ((WireValue{Handle{"Queue", "int", 7, nullptr, nullptr}}.to_string()),
            "<Queue<int> handle 7>");
  EXPECT_EQ((WireValue{Foreign{"pickle", "decimal.Decimal", bytes({1, 2, 3})}}.to_string()),
            "<foreign decimal.Decimal, 3 bytes of pickle>");
}

TEST(WireValue, KnowsWhatItIs) {
  const std::vector<std::pair<WireValue, ValueKind>> all{
      {nullptr, ValueKind::none},
      {false, ValueKind::boolean},
      {1, ValueKind::integer},
      {~std::uint64_t{0}, ValueKind::integer},
      {BigInt{true, {0, 0, 0, 0, 0, 0, 0, 0, 1}}, ValueKind::integer},
      {1.5F, ValueKind::floating},
      {std::string{"x"}, ValueKind::text},
      {bytes({1}), ValueKind::bytes},
      {WireValue::list({}), ValueKind::list},
      {WireValue::tuple({}), ValueKind::tuple},
      {WireValue::set({}), ValueKind::set},
      {WireValue::map({}), ValueKind::map},
      {NumberArray{}, ValueKind::numbers},
      {Handle{}, ValueKind::handle},
      {Foreign{}, ValueKind::foreign}};
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i].first.kind(), all[i].second) << i;
    for (std::size_t j = 0; j < all.size(); ++j) {
      EXPECT_EQ(all[i].first == all[j].first, i == j) << i << " " << j;
      EXPECT_EQ(all[i].first<all[j].first, all[j].first> all[i].first) << i << " " << j;
    }
  }
}

TEST(WireValue, IntegersOfAnySizeAreExact) {
  EXPECT_EQ(WireValue{std::numeric_limits<std::int64_t>::min()}.as_int64(),
            std::numeric_limits<std::int64_t>::min());
  const WireValue large = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(large.as_uint64(), std::numeric_limits<std::uint64_t>::max());
  EXPECT_FALSE(large.as_int64());
  EXPECT_EQ(WireValue{-1}.as_uint64(), std::nullopt);
  EXPECT_EQ(WireValue{5U}, WireValue{5});
  // 2 ** 64 and -(2 ** 63) - 1
  const WireValue huge = BigInt{false, {0, 0, 0, 0, 0, 0, 0, 0, 1}};
  EXPECT_EQ(huge.to_string(), "18446744073709551616");
  const WireValue low = BigInt{true, {1, 0, 0, 0, 0, 0, 0, 0x80}};
  EXPECT_EQ(low.to_string(), "-9223372036854775809");
  EXPECT_LT(low, WireValue{std::numeric_limits<std::int64_t>::min()});
  // 10 ** 27, and 2 ** 128 - 1
  EXPECT_EQ(
      (WireValue{BigInt{false, {0, 0, 0, 0xe8, 0x3c, 0x80, 0xd0, 0x9f, 0x3c, 0x2e, 0x3b, 0x03}}}
           .to_string()),
      "1000000000000000000000000000");
  EXPECT_EQ((WireValue{BigInt{false, std::vector<std::uint8_t>(16, 255)}}.to_string()),
            "340282366920938463463374607431768211455");
  EXPECT_LT(large, huge);
  EXPECT_LT(WireValue{1}, large);
  // What fits becomes an ordinary integer, so equality needs no care.
  EXPECT_EQ((WireValue{BigInt{true, {0, 0, 0, 0, 0, 0, 0, 0x80}}}),
            WireValue{std::numeric_limits<std::int64_t>::min()});
  EXPECT_EQ((WireValue{BigInt{false, {7, 0, 0, 0, 0, 0, 0, 0, 0, 0}}}), WireValue{7});
}

TEST(WireValue, SetsAndMapsAreEqualInAnyOrder) {
  const WireValue a = WireValue::set({1, "x", WireValue::tuple({2, nullptr})});
  const WireValue b = WireValue::set({WireValue::tuple({2, nullptr}), 1, "x"});
  EXPECT_EQ(a, b);
  EXPECT_EQ(a.hash(), b.hash());
  const WireValue c = WireValue::map({{1, a}, {"k", 2}});
  const WireValue d = WireValue::map({{"k", 2}, {1, b}});
  EXPECT_EQ(c, d);
  EXPECT_EQ(c.hash(), d.hash());
  EXPECT_NE(c, WireValue::map({{"k", 3}, {1, b}}));
  EXPECT_NE(WireValue::list({1, 2}), WireValue::list({2, 1}));
  EXPECT_NE(WireValue::list({1}), WireValue::tuple({1}));
  ASSERT_NE(c.find("k"), nullptr);
  EXPECT_EQ(*c.find("k"), WireValue{2});
  EXPECT_EQ(c.find("absent"), nullptr);
  EXPECT_EQ(WireValue{1}.find(1), nullptr);
}

// Whoever sorts them anew at each comparison that comes by does not come to an end.
TEST(WireValue, SetsInSetsAreComparedInNoTime) {
  const WireValue last = WireValue::map({});
  WireValue side = WireValue::set({WireValue::map({{1, 1}}), last});
  for (int n = 0; n < 12; ++n) side = WireValue::set({side, last});
  WireValue deep = WireValue::set({1, 2});
  for (int n = 0; n < 80; ++n) deep = WireValue::set({deep, side});
  const WireValue same = deep;
  EXPECT_EQ(deep, same);
  EXPECT_EQ(deep.hash(), same.hash());
  EXPECT_NE(deep, WireValue::set({side, WireValue::set({deep, side})}));
  EXPECT_EQ(WireValue::map({{deep, 1}, {side, deep}}), WireValue::map({{side, same}, {same, 1}}));
}

TEST(WireValue, EqualFloatsHaveEqualHashes) {
  EXPECT_EQ(WireValue{0.0}, WireValue{-0.0});
  EXPECT_EQ(WireValue{0.0}.hash(), WireValue{-0.0}.hash());
  const WireValue nan = std::nan("1");
  EXPECT_EQ(nan, WireValue{std::nan("2")});
  EXPECT_EQ(nan.hash(), WireValue{std::nan("2")}.hash());
  EXPECT_NE(WireValue{1}, WireValue{1.0});
  EXPECT_NE(WireValue{1}, WireValue{true});
}

TEST(WireValue, IsAKeyOfMaps) {
  std::map<WireValue, int> ordered{{"b", 2}, {1, 1}, {WireValue::tuple({1, 2}), 3}};
  std::unordered_map<WireValue, int> hashed{ordered.begin(), ordered.end()};
  EXPECT_EQ(ordered.at("b"), 2);
  EXPECT_EQ(hashed.at(WireValue::tuple({1, 2})), 3);
  EXPECT_FALSE(hashed.contains("c"));
}

TEST(WireValue, HashableIsWhatPythonCouldUseAsAKey) {
  EXPECT_TRUE(WireValue{"x"}.is_hashable());
  EXPECT_TRUE(WireValue::tuple({1, WireValue::tuple({nullptr})}).is_hashable());
  EXPECT_FALSE(WireValue::list({}).is_hashable());
  EXPECT_FALSE(WireValue::tuple({1, WireValue::map({})}).is_hashable());
}

TEST(WireValue, ElementsOfArraysComeAsNumbers) {
  const float numbers[]{1.5F, -2.0F};
  NumberArray array{NumberType::f32, {}};
  array.data.resize(sizeof numbers);
  std::memcpy(array.data.data(), numbers, sizeof numbers);
  ASSERT_EQ(array.size(), 2U);
  EXPECT_EQ(array.at(1), WireValue{-2.0});
  EXPECT_EQ((NumberArray{NumberType::i16, bytes({0xfe, 0xff})}.at(0)), WireValue{-2});
  EXPECT_EQ((NumberArray{NumberType::u16, bytes({0xfe, 0xff})}.at(0)), WireValue{0xfffe});
}

}  // namespace
