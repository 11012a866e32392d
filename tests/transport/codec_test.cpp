// Layer transport, tests: what C++ types become on the wire and how they come back.
#include <passel/codec.hpp>

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <deque>
#include <filesystem>
#include <functional>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace app {

enum class Colour : std::uint8_t { red, green = 200 };

struct Point {
  double x = 0;
  double y = 0;
  friend bool operator==(const Point&, const Point&) = default;
};

struct Job {
  int id = 0;
  std::string name;
  std::optional<std::string> note;
  std::array<int, 3> weights{};
  Point at;
  std::vector<Point> path;
  std::map<std::string, std::vector<int>> tags;
  std::variant<int, std::string> target;
  std::chrono::milliseconds limit{};
  Colour colour{};
  bool urgent = false;
  friend bool operator==(const Job&, const Job&) = default;
};

struct Tree {
  int value = 0;
  std::vector<Tree> children;
  friend bool operator==(const Tree&, const Tree&) = default;
};

struct Empty {
  friend bool operator==(const Empty&, const Empty&) = default;
};

struct Fields24 {
  int a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x;
  friend bool operator==(const Fields24&, const Fields24&) = default;
};

struct Fields25 {
  int a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x, y;
};

struct Derived : Point {
  int more;
};

struct WithArray {
  int before;
  char name[8];
  int after;
};

struct WithPointer {
  int* p;
};

struct WithView {
  std::string_view view;
};

class Url {
 public:
  explicit Url(std::string text) : text_{std::move(text)} {}
  [[nodiscard]] const std::string& text() const { return text_; }
  friend bool operator==(const Url&, const Url&) = default;

 private:
  std::string text_;
};

struct Page {
  Url url;
  int depth;
  friend bool operator==(const Page&, const Page&) = default;
};

}  // namespace app

template <>
struct passel::codec<app::Url> {
  static WireValue encode(const app::Url& url) { return url.text(); }
  static Result<app::Url> decode(const WireValue& value) {
    PASSEL_TRY(std::string text, from_value<std::string>(value));
    if (!text.starts_with("http")) return Error{Errc::invalid_argument, "no web address: " + text};
    return app::Url{std::move(text)};
  }
};

namespace {

using passel::Encodable;
using passel::Errc;
using passel::Error;
using passel::from_value;
using passel::Result;
using passel::to_value;
using passel::WireValue;
using passel::detail::decode;
using passel::detail::decode_value;
using passel::detail::encode;
using passel::detail::encode_value;
using passel::detail::Writable;

template <class T>
void round_trip(const T& sent) {
  const auto encoded = encode(sent).unwrap();
  const auto back = decode<T>(encoded.bytes);
  ASSERT_TRUE(back.is_ok()) << back.error().to_string();
  EXPECT_EQ(*back, sent) << to_value(sent).to_string();
  // The self-describing form says the same, whatever short cut there is.
  const auto as_value = encode_value(to_value(sent)).unwrap();
  const auto again = decode<T>(as_value.bytes);
  ASSERT_TRUE(again.is_ok()) << again.error().to_string();
  EXPECT_EQ(*again, sent);
}

TEST(Codec, StandardTypesGoThereAndBack) {
  round_trip(true);
  round_trip('x');
  round_trip(-5);
  round_trip(std::numeric_limits<std::uint64_t>::max());
  round_trip(std::numeric_limits<std::int64_t>::min());
  round_trip(std::int8_t{-128});
  round_trip(1.25F);
  round_trip(-0.1);
  round_trip(U'\u00fc');
  round_trip(app::Colour::green);
  round_trip(std::string{"text"});
  round_trip(std::string{"nul\0inside", 10});
  round_trip(std::string{"\xff\xfe no UTF-8"});
  round_trip(std::string{});
  round_trip(std::vector<int>{});
  round_trip(std::vector<int>{1, -2, 3});
  round_trip(std::vector<float>{1.5F});
  round_trip(std::vector<bool>{true, false, true});
  round_trip(std::vector<std::byte>{std::byte{0}, std::byte{255}});
  round_trip(std::vector<unsigned char>{0, 255});
  round_trip(std::vector<std::string>{"a", ""});
  round_trip(std::array<std::string, 2>{"a", "b"});
  round_trip(std::array<double, 3>{1, 2, 3});
  round_trip(std::array<int, 0>{});
  round_trip(std::deque<int>{1, 2});
  round_trip(std::list<std::string>{"l"});
  round_trip(std::set<int>{3, 1});
  round_trip(std::unordered_set<std::string>{"a", "b"});
  round_trip(std::map<int, std::string>{{1, "1"}, {2, ""}});
  round_trip(std::unordered_map<std::string, std::vector<int>>{{"k", {1}}});
  round_trip(std::map<std::pair<int, int>, std::set<std::vector<int>>>{{{1, 2}, {{3}, {}}}});
  round_trip(std::pair{1, std::string{"x"}});
  round_trip(std::tuple<>{});
  round_trip(std::tuple{1, 2.5, std::string{"t"}});
  round_trip(std::filesystem::path{"/tmp/a b"});
  round_trip(std::monostate{});
}

TEST(Codec, TextThatIsNoneArrivesAsBytesWhereverItStands) {
  const std::string text = "\xff\xfe";
  const auto arrives = [](const WireValue& value) {
    return decode_value(encode_value(value).unwrap().bytes).unwrap();
  };
  const WireValue bytes = arrives(WireValue{text});
  EXPECT_NE(bytes.as_bytes(), nullptr);
  EXPECT_EQ(arrives(WireValue::list({WireValue{text}})), WireValue::list({bytes}));
  EXPECT_EQ(passel::from_value<std::string>(bytes).unwrap(), text);
}

TEST(Codec, OptionalsAndVariantsGoThereAndBack) {
  round_trip(std::optional<int>{});
  round_trip(std::optional<int>{0});
  round_trip(std::optional<std::optional<int>>{});
  round_trip(std::optional<std::optional<int>>{std::optional<int>{}});
  round_trip(std::optional<std::optional<int>>{5});
  round_trip(std::optional<WireValue>{WireValue{}});
  round_trip(std::variant<int, std::string, app::Point>{app::Point{1, 2}});
  round_trip(std::variant<std::monostate, int>{});
  round_trip(std::vector<std::variant<int, std::string>>{1, "x"});
  const auto encoded = encode(std::make_unique<app::Point>(app::Point{1, 2})).unwrap();
  EXPECT_EQ(**decode<std::unique_ptr<app::Point>>(encoded.bytes), (app::Point{1, 2}));
  EXPECT_EQ(*decode<std::unique_ptr<int>>(encode(std::unique_ptr<int>{})->bytes), nullptr);
}

TEST(Codec, TimesGoThereAndBackAndConvertExactly) {
  using namespace std::chrono;
  round_trip(5ms);
  round_trip(duration<double>{0.5});
  round_trip(system_clock::now());
  round_trip(time_point_cast<seconds>(system_clock::now()));
  EXPECT_EQ(*from_value<milliseconds>(to_value(2s)), 2000ms);
  EXPECT_EQ(*from_value<seconds>(to_value(3000ms)), 3s);
  EXPECT_EQ(*from_value<hours>(to_value(7200s)), 2h);
  EXPECT_EQ(*from_value<duration<double>>(to_value(1500ms)), duration<double>{1.5});
  EXPECT_TRUE(from_value<seconds>(to_value(1500ms)).error() == Errc::type_mismatch);
  EXPECT_TRUE(from_value<nanoseconds>(to_value(hours::max())).is_err());
  EXPECT_TRUE(from_value<seconds>(WireValue::tuple({1, 0, 1})).is_err());
  EXPECT_TRUE(
      from_value<seconds>(WireValue::tuple({1, std::numeric_limits<std::int64_t>::max(), 1}))
          .is_ok());
  EXPECT_TRUE(
      from_value<seconds>(WireValue::tuple({2, std::numeric_limits<std::int64_t>::max(), 1}))
          .is_err());
}

TEST(Codec, AggregatesNeedNoMacro) {
  const app::Job job{7,
                     "crawl",
                     "note",
                     {1, 2, 3},
                     {1.5, 2},
                     {{3, 4}},
                     {{"k", {1}}},
                     "host",
                     std::chrono::milliseconds{5},
                     app::Colour::green,
                     true};
  round_trip(job);
  EXPECT_EQ(to_value(job).kind(), passel::ValueKind::tuple);
  EXPECT_EQ(to_value(job).items()->size(), 11U);
  round_trip(app::Tree{1, {{2, {}}, {3, {{4, {}}}}}});
  round_trip(app::Empty{});
  round_trip(app::Fields24{1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12,
                           13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24});
  round_trip(app::Page{app::Url{"http://localhost/"}, 2});
}

TEST(Codec, ConceptsSayWhatCanTravel) {
  static_assert(Encodable<app::Job> && Encodable<app::Tree> && Encodable<app::Page>);
  static_assert(Encodable<WireValue> && Encodable<Result<int>> && Encodable<Result<void>>);
  static_assert(!Encodable<app::Fields25>);
  static_assert(!Encodable<app::Derived>);
  static_assert(!Encodable<app::WithArray>);
  static_assert(!Encodable<app::WithPointer> && !Encodable<int*> &&
                !Encodable<std::function<void()>>);
  static_assert(!Encodable<std::vector<int*>> && !Encodable<std::map<int, std::function<void()>>>);
  static_assert(!Encodable<long double>);
  static_assert(!Encodable<app::WithView> && Writable<app::WithView>);
  static_assert(!Encodable<std::string_view> && Writable<std::string_view>);
  static_assert(!Encodable<std::span<const int>> && Writable<std::span<const int>>);
  static_assert(!Encodable<const int> && !Encodable<int&>);
  EXPECT_EQ(*decode<std::string>(encode(std::string_view{"view"})->bytes), "view");
  EXPECT_EQ(*decode<std::string>(encode("literal")->bytes), "literal");
  const int numbers[]{1, 2};
  EXPECT_EQ(*decode<std::vector<int>>(encode(std::span{numbers})->bytes), (std::vector{1, 2}));
}

TEST(Codec, ErrorsAndResultsKeepTheirDetail) {
  auto lost = std::make_shared<passel::WorkerLost>();
  lost->pid = 42;
  lost->signal = 9;
  lost->task = "fib";
  lost->attempt = 2;
  lost->cause = passel::LossCause::out_of_memory;
  lost->peak_rss = std::uint64_t{5} << 30;
  lost->last_lines = {"one", "two"};
  const Error error{Errc::worker_lost, "worker 42 was killed", lost};
  const Error back = passel::detail::decode_error(passel::detail::encode_error(error).bytes);
  EXPECT_EQ(back.to_string(), error.to_string());
  ASSERT_NE(back.detail<passel::WorkerLost>(), nullptr);
  EXPECT_EQ(back.detail<passel::WorkerLost>()->signal, 9);
  EXPECT_EQ(back.detail<passel::WorkerLost>()->task, "fib");
  EXPECT_EQ(back.detail<passel::WorkerLost>()->attempt, 2U);
  EXPECT_EQ(back.detail<passel::WorkerLost>()->cause, passel::LossCause::out_of_memory);
  EXPECT_EQ(back.detail<passel::WorkerLost>()->peak_rss, std::uint64_t{5} << 30);
  EXPECT_EQ(back.detail<passel::WorkerLost>()->last_lines, lost->last_lines);

  auto remote = std::make_shared<passel::RemoteError>();
  remote->type_name = "std::runtime_error";
  remote->what = "boom";
  remote->causes = {{"std::logic_error", "no fuse"}, {"int", "no std::exception"}};
  const Result<int> failed = Error{Errc::task_failed, "it threw", remote};
  const auto read = decode<Result<int>>(encode(failed)->bytes).unwrap();
  ASSERT_TRUE(read.is_err());
  EXPECT_TRUE(read.error() == Errc::task_failed);
  ASSERT_NE(read.error().detail<passel::RemoteError>(), nullptr);
  EXPECT_EQ(read.error().detail<passel::RemoteError>()->type_name, "std::runtime_error");
  EXPECT_EQ(read.error().detail<passel::RemoteError>()->causes, remote->causes);

  EXPECT_EQ(**decode<Result<std::string>>(encode(Result<std::string>{"fine"})->bytes), "fine");
  EXPECT_TRUE(decode<Result<void>>(encode(Result<void>{})->bytes)->is_ok());
  EXPECT_TRUE(passel::detail::decode_error({}) == Errc::malformed);
}

TEST(Codec, MismatchesNameExpectedFoundAndThePath) {
  const auto text_of = [](const auto& result) {
    EXPECT_TRUE(result.is_err());
    EXPECT_TRUE(result.error() == Errc::type_mismatch);
    return result.error().what();
  };
  EXPECT_EQ(text_of(from_value<int>("x")), "expected int, found str 'x' at value");
  EXPECT_EQ(text_of(from_value<std::vector<app::Point>>(
                WireValue::list({WireValue::tuple({1.0, 2.0}), WireValue::tuple({1.0, "x"})}))),
            "expected double, found str 'x' at value[1].1");
  EXPECT_EQ(text_of(from_value<std::map<std::string, std::vector<int>>>(
                WireValue::map({{"k", WireValue::list({1, nullptr})}}))),
            "expected int, found None at value['k'][1]");
  EXPECT_EQ(text_of(from_value<app::Point>(WireValue::tuple({1.0}))),
            "expected app::Point (2 items), found tuple of 1 at value");
  EXPECT_EQ(text_of(from_value<std::array<int, 2>>(WireValue::list({1, 2, 3}))),
            "expected array<int, 2> (2 items), found list of 3 at value");
  EXPECT_EQ(text_of(from_value<std::string>(5)), "expected std::string, found int 5 at value");
  EXPECT_EQ(text_of(from_value<std::variant<int, bool>>(WireValue::tuple({2, 1}))),
            "expected variant<int, bool>, found int 2 at value.0");
  // A user's own error keeps its code and gets the path.
  const auto page = from_value<std::vector<app::Url>>(WireValue::list({"http://x", "ftp://y"}));
  EXPECT_TRUE(page.error() == Errc::invalid_argument);
  EXPECT_EQ(page.error().what(), "no web address: ftp://y at value[1]");
}

TEST(Codec, NumbersOutOfRangeNameTheLimit) {
  EXPECT_EQ(from_value<std::int8_t>(300).error().what(),
            "expected int8_t from -128 to 127, found 300 at value");
  EXPECT_EQ(from_value<unsigned>(-1).error().what(),
            "expected uint32_t from 0 to 4294967295, found -1 at value");
  EXPECT_EQ(from_value<app::Colour>(256).error().what(),
            "expected uint8_t from 0 to 255, found 256 at value");
  EXPECT_TRUE(from_value<std::int64_t>(std::numeric_limits<std::uint64_t>::max()).is_err());
  EXPECT_TRUE(
      from_value<std::uint64_t>(passel::BigInt{false, {0, 0, 0, 0, 0, 0, 0, 0, 1}}).is_err());
  // However large: its digits are nobody's concern.
  const auto huge =
      from_value<int>(passel::BigInt{true, std::vector<std::uint8_t>(std::size_t{1} << 24, 1)});
  EXPECT_EQ(huge.error().what(),
            "expected int from -2147483648 to 2147483647, found <negative int of 16777216 bytes> "
            "at value");
  EXPECT_TRUE(from_value<float>(1e300).is_err());
  EXPECT_TRUE(from_value<double>((std::int64_t{1} << 53) + 1).is_err());
  EXPECT_TRUE(from_value<int>(1.0).is_err());
  EXPECT_TRUE(from_value<int>(true).is_err());
  EXPECT_EQ(*from_value<double>(3), 3.0);
  EXPECT_EQ(from_value<std::vector<std::int8_t>>(to_value(std::vector<int>{1, 300})).error().what(),
            "expected int8_t from -128 to 127, found 300 at value[1]");
}

TEST(Codec, NumbersAndContainersConvertWhereNothingIsLost) {
  EXPECT_EQ(*decode<long long>(encode(std::int8_t{-3})->bytes), -3);
  EXPECT_EQ(*decode<double>(encode(1.5F)->bytes), 1.5);
  EXPECT_EQ(*decode<std::vector<double>>(encode(std::vector<int>{1, 2})->bytes),
            (std::vector{1.0, 2.0}));
  EXPECT_EQ(*decode<std::list<int>>(encode(std::vector<int>{1, 2})->bytes), (std::list{1, 2}));
  EXPECT_EQ(*decode<std::vector<std::uint8_t>>(encode(std::vector{std::byte{7}})->bytes),
            (std::vector<std::uint8_t>{7}));
  EXPECT_EQ(*decode<WireValue>(encode(5)->bytes), WireValue{5});
  EXPECT_EQ(*decode<WireValue>(encode(std::string{"s"})->bytes), WireValue{"s"});
  EXPECT_EQ(decode<WireValue>(encode(std::vector<int>{1, 2})->bytes)->to_string(),
            "array('i32', [1, 2])");
}

TEST(Codec, TypesHaveReadableNames) {
  using passel::detail::type_name;
  EXPECT_EQ(type_name<int>(), "int");
  EXPECT_EQ(type_name<std::string>(), "std::string");
  EXPECT_EQ(type_name<std::vector<double>>(), "vector<double>");
  EXPECT_EQ(type_name<app::Job>(), "app::Job");
  EXPECT_EQ((type_name<std::map<std::string, std::optional<app::Point>>>()),
            "map<std::string, optional<app::Point>>");
  EXPECT_EQ(type_name<unsigned long>(), "uint64_t");
}

TEST(Codec, ArgumentListsAreChecked) {
  using passel::detail::decode_pack;
  using passel::detail::encode_pack;
  app::Job job;
  job.name = "j";
  const auto packed = encode_pack(1, std::string{"odd"}, job, std::vector<int>{1, 2}).unwrap();
  const auto back =
      decode_pack<int, std::string, app::Job, std::vector<int>>(packed.bytes).unwrap();
  EXPECT_EQ(back, (std::tuple{1, std::string{"odd"}, job, std::vector<int>{1, 2}}));
  EXPECT_TRUE(decode_pack<>(encode_pack()->bytes).is_ok());
  EXPECT_EQ((decode_pack<int>(packed.bytes).error().what()), "expected 1 arguments, found 4");
  EXPECT_EQ((decode_pack<int, int, app::Job, std::vector<int>>(packed.bytes).error().what()),
            "argument 2: expected int, found str 'odd' at value");
  for (std::size_t size = 0; size < packed.bytes.size(); ++size) {
    EXPECT_TRUE((decode_pack<int, std::string, app::Job, std::vector<int>>(
                     std::span{packed.bytes}.first(size)))
                    .is_err())
        << size;
  }
}

TEST(Codec, DescriptorsOfHandlesTravelBesideTheBytes) {
  const auto first = std::make_shared<passel::detail::Descriptor>();
  const auto second = std::make_shared<passel::detail::Descriptor>();
  const WireValue a = passel::Handle{"Queue", "int", 1, first, nullptr};
  const WireValue b = passel::Handle{"Lock", "", 2, second, nullptr};
  const auto packed = passel::detail::encode_pack(a, 5, WireValue::list({b, a})).unwrap();
  ASSERT_EQ(packed.descriptors.size(), 3U);
  const auto back =
      passel::detail::decode_pack<WireValue, int, WireValue>(packed.bytes, packed.descriptors)
          .unwrap();
  EXPECT_EQ(std::get<0>(back).handle()->descriptor, first);
  EXPECT_EQ(std::get<2>(back).items()->at(0).handle()->descriptor, second);
  EXPECT_EQ(std::get<2>(back).items()->at(1).handle()->descriptor, first);
  const auto missing = passel::detail::decode_pack<WireValue, int, WireValue>(packed.bytes, {});
  EXPECT_TRUE(missing.error() == Errc::malformed);
}

TEST(Codec, NestingHasALimitInBothDirections) {
  const auto nested = [](int depth) {
    WireValue value = 1;
    for (int i = 0; i < depth; ++i)
      value = i % 2 == 0 ? WireValue::list({value}) : WireValue::map({{1, value}});
    return value;
  };
  const WireValue deepest = nested(passel::detail::max_value_depth);
  EXPECT_EQ(*decode_value(encode_value(deepest)->bytes), deepest);
  const auto refused = encode_value(nested(passel::detail::max_value_depth + 1));
  ASSERT_TRUE(refused.is_err());
  EXPECT_TRUE(refused.error() == Errc::too_large);
  EXPECT_NE(refused.error().what().find("100"), std::string::npos);
}

TEST(Codec, UnalignedBytesAreReadAsWell) {
  const WireValue value = WireValue::list({1, "x", WireValue::map({{1, 2.5}})});
  const auto encoded = encode_value(value).unwrap();
  for (std::size_t off = 1; off < 8; ++off) {
    std::vector<std::byte> moved(off);
    moved.insert(moved.end(), encoded.bytes.begin(), encoded.bytes.end());
    EXPECT_EQ(*decode_value(std::span{moved}.subspan(off)), value);
  }
}

TEST(Codec, RawBytesAreThoseInMemory) {
  using passel::detail::is_raw;
  static_assert(is_raw<int> && is_raw<bool> && is_raw<app::Colour> && is_raw<std::string>);
  static_assert(is_raw<std::vector<double>> && is_raw<std::array<int, 3>> &&
                is_raw<std::vector<std::byte>>);
  static_assert(!is_raw<std::vector<bool>> && !is_raw<app::Point> &&
                !is_raw<std::vector<std::string>>);
  const std::vector<int> numbers{1, 2, 3};
  ASSERT_EQ(passel::detail::raw_size(numbers), 12U);
  std::vector<std::byte> bytes(12);
  passel::detail::raw_write(numbers, bytes.data());
  EXPECT_EQ(*passel::detail::raw_read<std::vector<int>>(bytes), numbers);
  EXPECT_EQ((*passel::detail::raw_read<std::array<int, 3>>(bytes)), (std::array{1, 2, 3}));
  EXPECT_TRUE((passel::detail::raw_read<std::array<int, 2>>(bytes)).is_err());
  EXPECT_TRUE(passel::detail::raw_read<std::vector<int>>(std::span{bytes}.first(11)).is_err());
}

}  // namespace
