// Tests, a fuzz target: values out of bytes, back into bytes, compared, hashed and printed.
#include <passel/codec.hpp>

#include "fuzz_input.hpp"
#include "grown_value.hpp"

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

using namespace passel::detail;
using passel::WireValue;
using passel_fuzz::demand;

namespace {

void check_round_trip(const WireValue& value) {
  const auto encoded = encode_value(value);
  demand("what is not too deep can be sent", encoded);
  const auto again = decode_value(encoded->bytes, encoded->descriptors);
  demand("what was sent arrives", again);
  demand("as it was", *again == value && again->compare(value) == 0);
  demand("with its hash", again->hash() == value.hash());
  demand("and its text", again->to_string() == value.to_string());
  demand("in the same bytes", encode_value(*again).unwrap().bytes == encoded->bytes);
}

void check_order(const WireValue& a, const WireValue& b) {
  demand("a value is itself", a == a && b == b);
  demand("an order has two directions", a.compare(b) == (0 <=> b.compare(a)));
  demand("equal values have equal hashes", a != b || a.hash() == b.hash());
  const WireValue both = WireValue::set({a, b});
  demand("sets have no order", both == WireValue::set({b, a}));
  demand("nor have their hashes", both.hash() == WireValue::set({b, a}).hash());
}

/// What C++ makes of it: a value or an error, and a value of the type that goes back.
template <class... T>
void check_types(const WireValue& value) {
  const auto check = [&value]<class One>(std::type_identity<One>) {
    const auto read = passel::from_value<One>(value);
    if (!read) return;
    const auto written = passel::from_value<One>(passel::to_value(*read));
    demand("a value of a type can be read again", written);
    demand("and is the same then", passel::to_value(*written) == passel::to_value(*read));
  };
  (check(std::type_identity<T>{}), ...);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  if (data[0] % 2 == 0) {
    const auto read = decode_value({reinterpret_cast<const std::byte*>(data + 1), size - 1});
    if (!read) return 0;
    check_round_trip(*read);
    check_order(*read, WireValue::list({*read}));
    return 0;
  }
  passel_fuzz::Reader in{data + 1, size - 1};
  passel_fuzz::GrownValue grown{in};
  const WireValue value = grown.value();
  check_round_trip(value);
  check_order(value, grown.value());
  check_types<bool, int, std::uint64_t, float, std::string, std::optional<std::int8_t>,
              std::vector<int>, std::vector<bool>, std::map<std::string, std::vector<double>>,
              std::variant<std::monostate, int, std::string, std::pair<double, std::string>>,
              std::vector<std::byte>, std::chrono::nanoseconds, passel::Result<int>>(value);
  return 0;
}
