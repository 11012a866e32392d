// Layer transport, tests: the self-describing value.
#include <passel/value.hpp>

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
using passel::Value;
using passel::ValueKind;

Value::Bytes bytes(std::initializer_list<int> from) {
  Value::Bytes out;
  for (const int byte : from) out.push_back(static_cast<std::byte>(byte));
  return out;
}

TEST(Value, PrintsAsPythonWould) {
  EXPECT_EQ(Value::list({42, nullptr, "hello"}).to_string(), "[42, None, 'hello']");
  EXPECT_EQ(Value::map({{1, "1"}, {"k", 2.5}}).to_string(), "{1: '1', 'k': 2.5}");
  EXPECT_EQ(Value::tuple({1}).to_string(), "(1,)");
  EXPECT_EQ(Value::tuple({1, 2}).to_string(), "(1, 2)");
  EXPECT_EQ(Value::tuple({}).to_string(), "()");
  EXPECT_EQ(Value::set({1, 2}).to_string(), "{1, 2}");
  EXPECT_EQ(Value::set({}).to_string(), "set()");
  EXPECT_EQ(Value::map({}).to_string(), "{}");
  EXPECT_EQ(Value{true}.to_string(), "True");
  EXPECT_EQ(Value{1.0}.to_string(), "1.0");
  EXPECT_EQ(Value{0.1}.to_string(), "0.1");
  EXPECT_EQ(Value{1e300}.to_string(), "1e+300");
  EXPECT_EQ(Value{std::numeric_limits<double>::infinity()}.to_string(), "inf");
  EXPECT_EQ(Value{-std::numeric_limits<double>::quiet_NaN()}.to_string(), "nan");
  EXPECT_EQ(Value{"it's"}.to_string(), "\"it's\"");
  EXPECT_EQ(Value{"both ' and \""}.to_string(), "'both \\' and \"'");
  EXPECT_EQ(Value{"line\nend\t\x01\\"}.to_string(), "'line\\nend\\t\\x01\\\\'");
  EXPECT_EQ(Value{"gr\xc3\xbc\xc3\x9f"}.to_string(), "'gr\xc3\xbc\xc3\x9f'");
  EXPECT_EQ(Value{bytes({0, 65, 255})}.to_string(), "b'\\x00A\\xff'");
  EXPECT_EQ((Value{NumberArray{NumberType::u8, bytes({1, 2})}}.to_string()), "array('u8', [1, 2])");
  EXPECT_EQ((Value{Handle{"Queue", "int", 7, nullptr, nullptr}}.to_string()),
            "<Queue<int> handle 7>");
  EXPECT_EQ((Value{Foreign{"pickle", "decimal.Decimal", bytes({1, 2, 3})}}.to_string()),
            "<foreign decimal.Decimal, 3 bytes of pickle>");
}

TEST(Value, KnowsWhatItIs) {
  const std::vector<std::pair<Value, ValueKind>> all{
      {nullptr, ValueKind::none},
      {false, ValueKind::boolean},
      {1, ValueKind::integer},
      {~std::uint64_t{0}, ValueKind::integer},
      {BigInt{true, {0, 0, 0, 0, 0, 0, 0, 0, 1}}, ValueKind::integer},
      {1.5F, ValueKind::floating},
      {std::string{"x"}, ValueKind::text},
      {bytes({1}), ValueKind::bytes},
      {Value::list({}), ValueKind::list},
      {Value::tuple({}), ValueKind::tuple},
      {Value::set({}), ValueKind::set},
      {Value::map({}), ValueKind::map},
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

TEST(Value, IntegersOfAnySizeAreExact) {
  EXPECT_EQ(Value{std::numeric_limits<std::int64_t>::min()}.as_int64(),
            std::numeric_limits<std::int64_t>::min());
  const Value large = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(large.as_uint64(), std::numeric_limits<std::uint64_t>::max());
  EXPECT_FALSE(large.as_int64());
  EXPECT_EQ(Value{-1}.as_uint64(), std::nullopt);
  EXPECT_EQ(Value{5U}, Value{5});
  // 2 ** 64 and -(2 ** 63) - 1
  const Value huge = BigInt{false, {0, 0, 0, 0, 0, 0, 0, 0, 1}};
  EXPECT_EQ(huge.to_string(), "18446744073709551616");
  const Value low = BigInt{true, {1, 0, 0, 0, 0, 0, 0, 0x80}};
  EXPECT_EQ(low.to_string(), "-9223372036854775809");
  EXPECT_LT(low, Value{std::numeric_limits<std::int64_t>::min()});
  EXPECT_LT(large, huge);
  EXPECT_LT(Value{1}, large);
  // What fits becomes an ordinary integer, so equality needs no care.
  EXPECT_EQ((Value{BigInt{true, {0, 0, 0, 0, 0, 0, 0, 0x80}}}),
            Value{std::numeric_limits<std::int64_t>::min()});
  EXPECT_EQ((Value{BigInt{false, {7, 0, 0, 0, 0, 0, 0, 0, 0, 0}}}), Value{7});
}

TEST(Value, SetsAndMapsAreEqualInAnyOrder) {
  const Value a = Value::set({1, "x", Value::tuple({2, nullptr})});
  const Value b = Value::set({Value::tuple({2, nullptr}), 1, "x"});
  EXPECT_EQ(a, b);
  EXPECT_EQ(a.hash(), b.hash());
  const Value c = Value::map({{1, a}, {"k", 2}});
  const Value d = Value::map({{"k", 2}, {1, b}});
  EXPECT_EQ(c, d);
  EXPECT_EQ(c.hash(), d.hash());
  EXPECT_NE(c, Value::map({{"k", 3}, {1, b}}));
  EXPECT_NE(Value::list({1, 2}), Value::list({2, 1}));
  EXPECT_NE(Value::list({1}), Value::tuple({1}));
  ASSERT_NE(c.find("k"), nullptr);
  EXPECT_EQ(*c.find("k"), Value{2});
  EXPECT_EQ(c.find("absent"), nullptr);
  EXPECT_EQ(Value{1}.find(1), nullptr);
}

TEST(Value, EqualFloatsHaveEqualHashes) {
  EXPECT_EQ(Value{0.0}, Value{-0.0});
  EXPECT_EQ(Value{0.0}.hash(), Value{-0.0}.hash());
  const Value nan = std::nan("1");
  EXPECT_EQ(nan, Value{std::nan("2")});
  EXPECT_EQ(nan.hash(), Value{std::nan("2")}.hash());
  EXPECT_NE(Value{1}, Value{1.0});
  EXPECT_NE(Value{1}, Value{true});
}

TEST(Value, IsAKeyOfMaps) {
  std::map<Value, int> ordered{{"b", 2}, {1, 1}, {Value::tuple({1, 2}), 3}};
  std::unordered_map<Value, int> hashed{ordered.begin(), ordered.end()};
  EXPECT_EQ(ordered.at("b"), 2);
  EXPECT_EQ(hashed.at(Value::tuple({1, 2})), 3);
  EXPECT_FALSE(hashed.contains("c"));
}

TEST(Value, HashableIsWhatPythonCouldUseAsAKey) {
  EXPECT_TRUE(Value{"x"}.is_hashable());
  EXPECT_TRUE(Value::tuple({1, Value::tuple({nullptr})}).is_hashable());
  EXPECT_FALSE(Value::list({}).is_hashable());
  EXPECT_FALSE(Value::tuple({1, Value::map({})}).is_hashable());
}

TEST(Value, ElementsOfArraysComeAsNumbers) {
  const float numbers[]{1.5F, -2.0F};
  NumberArray array{NumberType::f32, {}};
  array.data.resize(sizeof numbers);
  std::memcpy(array.data.data(), numbers, sizeof numbers);
  ASSERT_EQ(array.size(), 2U);
  EXPECT_EQ(array.at(1), Value{-2.0});
  EXPECT_EQ((NumberArray{NumberType::i16, bytes({0xfe, 0xff})}.at(0)), Value{-2});
  EXPECT_EQ((NumberArray{NumberType::u16, bytes({0xfe, 0xff})}.at(0)), Value{0xfffe});
}

}  // namespace
