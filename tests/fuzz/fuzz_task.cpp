// Tests, a fuzz target: arguments of tasks as a peer has packed them, and the tasks that take them.
#include <passel/codec.hpp>
#include <passel/detail/exposed_task.hpp>
#include <passel/detail/pool_chunk.hpp>
#include <passel/detail/task.hpp>

#include "broker_messages.hpp"
#include "fuzz_input.hpp"

#include <array>
#include <chrono>
#include <deque>
#include <filesystem>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

using namespace passel::detail;
using passel::Errc;
using passel::WireValue;
using passel_fuzz::demand;
using Input = std::span<const std::byte>;

// Not in a namespace without a name: clang does not take aggregates apart that have no linkage.
namespace fuzz_task {

enum class Colour { red, green };
struct Place {
  double x = 0;
  double y = 0;
};
struct Tree {
  std::string name;
  std::optional<Place> place;
  std::vector<Tree> children;
};
struct Order {
  std::int32_t number = 0;
  std::variant<std::monostate, std::string, std::vector<int>, Place> what;
  std::map<std::string, std::vector<std::optional<double>>> lines;
  Colour colour = Colour::red;
  std::array<std::int16_t, 3> corner{};
};

}  // namespace fuzz_task

namespace {

using namespace fuzz_task;

std::size_t leaves(const Tree& tree) {
  std::size_t count = tree.children.empty() ? 1 : 0;
  for (const Tree& child : tree.children) count += leaves(child);
  return count;
}
std::string joined(const std::string& separator, const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += word + separator;
  return out;
}
passel::Result<double> mean(const std::vector<double>& numbers) {
  if (numbers.empty()) return passel::Error{Errc::invalid_argument, "no numbers"};
  double sum = 0;
  for (const double number : numbers) sum += number;
  return sum / static_cast<double>(numbers.size());
}
int nothing() { return 0; }
std::optional<Order> checked(Order order, std::chrono::milliseconds) {
  if (order.lines.empty()) throw std::invalid_argument{"no lines"};
  return order;
}

void check_error(const passel::Error& error) {
  demand("what cannot be read is told as that",
         error == Errc::malformed || error == Errc::type_mismatch);
  demand("in so many words", !std::string_view{error.what()}.empty());
}

/// What was read can be written, and is the same then.
template <class... A>
void read_pack(Input input) {
  const auto read = decode_pack<A...>(input);
  if (!read) return check_error(read.error());
  const auto written = std::apply([](const A&... one) { return encode_pack<A...>(one...); }, *read);
  demand("what was read can be sent on", written);
  const auto again = decode_pack<A...>(written->bytes);
  demand("and be read again", again);
  demand("and is the same then", passel::to_value(*again) == passel::to_value(*read));
}

/// What a peer asks of a task, and what its answer is to whoever asked.
template <auto F>
void run_task(Input input) {
  using Target = FunctionTarget<F>;
  using Stored = task_arguments<Target>;
  static_cast<void>(Task<Target, Stored>::run(input, {}).is_ok());
  static_cast<void>(ChunkTask<Target, Stored>::run(input, {}).is_ok());
  const auto answer = ExposedChunk<Target, Stored>::run(input, {});
  if (!answer) return check_error(answer.error());
  ChunkReader in{answer->bytes, {}};
  while (!in.at_end()) {
    const auto one = read_exposed_answer<typename Task<Target, Stored>::result>(in);
    demand("each answer can be read", one || one.error() != Errc::closed);
  }
}

using Target = void (*)(Input);
constexpr Target targets[] = {
    &read_pack<>,
    &read_pack<bool, std::int8_t, std::uint64_t, float, double>,
    &read_pack<std::string, std::vector<std::byte>, std::filesystem::path>,
    &read_pack<std::vector<int>, std::vector<bool>, std::deque<std::string>, std::list<Place>>,
    &read_pack<std::map<int, std::string>, std::set<std::string>, std::pair<int, Colour>>,
    &read_pack<std::unordered_map<std::string, std::optional<int>>, std::tuple<int, std::string>>,
    &read_pack<Order, Tree>,
    &read_pack<std::chrono::nanoseconds, std::chrono::system_clock::time_point>,
    &read_pack<std::variant<int, std::string, Place>, std::unique_ptr<Tree>>,
    &read_pack<WireValue, std::vector<WireValue>, std::optional<WireValue>>,
    &read_pack<passel::Result<int>, passel::Result<void>, passel::NumberArray>,
    &read_pack<SubmitterHello>,
    &read_pack<TaskOrder>,
    &read_pack<WorkerHello>,
    &read_pack<TaskGrant>,
    &read_pack<std::uint64_t, std::uint32_t, std::vector<TaskOutcome>>,
    &run_task<&nothing>,
    &run_task<&leaves>,
    &run_task<&joined>,
    &run_task<&mean>,
    &run_task<&checked>,
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  targets[data[0] % std::size(targets)]({reinterpret_cast<const std::byte*>(data + 1), size - 1});
  return 0;
}
