// Tests: runs a fuzz target where there is no libFuzzer: the kept inputs, and mutations of them.
#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

namespace fs = std::filesystem;
using Input = std::vector<std::uint8_t>;

constexpr std::size_t longest = 4096;
constexpr const char* crash_file = "fuzz-crash";

Input current;  // what the target is being given, for the handler

/// Keeps the input that the target did not survive, as libFuzzer does.
extern "C" void passel_keep_crash(int signal) {
  const int file = ::open(crash_file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  const auto written = ::write(file, current.data(), current.size());
  static constexpr char text[] = "\nThe input that did it is in fuzz-crash\n";
  const auto told = ::write(2, text, sizeof text - 1);
  static_cast<void>(written);
  static_cast<void>(told);
  std::signal(signal, SIG_DFL);
  ::raise(signal);
}

void run(Input input) {
  current = std::move(input);
  LLVMFuzzerTestOneInput(current.data(), current.size());
}

std::vector<Input> read_corpus(const fs::path& directory) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator{directory}) files.push_back(entry.path());
  std::ranges::sort(files);
  std::vector<Input> corpus;
  for (const fs::path& path : files) {
    std::ifstream file{path, std::ios::binary};
    corpus.emplace_back(std::istreambuf_iterator<char>{file}, std::istreambuf_iterator<char>{});
  }
  return corpus;
}

class Mutations {
 public:
  Mutations(const std::vector<Input>& corpus, std::uint64_t seed)
      : corpus_{corpus}, random_{seed} {}

  Input next() {
    Input input = corpus_[below(corpus_.size())];
    for (std::size_t n = 1 + below(4); n > 0; --n) change(input);
    if (input.size() > longest) input.resize(longest);
    return input;
  }

 private:
  std::size_t below(std::size_t limit) { return random_() % limit; }

  void change(Input& input) {
    if (input.empty()) input.push_back(0);
    const std::size_t at = below(input.size());
    const auto here = input.begin() + static_cast<std::ptrdiff_t>(at);
    const std::size_t rest = std::min<std::size_t>(input.size() - at, 1 + below(16));
    switch (below(7)) {
      case 0: input[at] ^= static_cast<std::uint8_t>(1U << below(8)); break;
      case 1: input[at] = static_cast<std::uint8_t>(below(256)); break;
      case 2: input.erase(here, here + static_cast<std::ptrdiff_t>(rest)); break;
      case 3: input.insert(here, rest, static_cast<std::uint8_t>(below(256))); break;
      case 4: {  // a number at the edge of something
        static constexpr std::uint64_t edges[] = {0,          1,          0x7f,       0xff,
                                                  0x7fff,     0xffff,     0x7fffffff, 0x80000000,
                                                  0xffffffff, 1ULL << 63, ~0ULL,      65536};
        const std::uint64_t edge = edges[below(std::size(edges))];
        std::memcpy(&input[at], &edge, std::min<std::size_t>(sizeof edge, input.size() - at));
        break;
      }
      case 5: {  // the end of another one
        const Input& other = corpus_[below(corpus_.size())];
        input.resize(at);
        if (other.empty()) break;
        const std::size_t from = below(other.size());
        input.insert(input.end(), other.begin() + static_cast<std::ptrdiff_t>(from), other.end());
        break;
      }
      default: {  // once more
        const Input twice{here, here + static_cast<std::ptrdiff_t>(rest)};
        input.insert(input.begin() + static_cast<std::ptrdiff_t>(at), twice.begin(), twice.end());
      }
    }
  }

  const std::vector<Input>& corpus_;
  std::mt19937_64 random_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "%s CORPUS ROUNDS: runs each kept input, then so many mutations\n",
                 argv[0]);
    return 2;
  }
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL})
    std::signal(signal, passel_keep_crash);
  const std::vector<Input> corpus = read_corpus(argv[1]);
  for (const Input& input : corpus) run(input);
  const char* const wanted = std::getenv("PASSEL_SEED");
  const std::uint64_t seed =
      wanted != nullptr && *wanted != '\0' ? std::strtoull(wanted, nullptr, 0) : 1;
  const auto rounds = std::strtoul(argv[2], nullptr, 10);
  std::printf("%zu kept inputs, %lu mutations, PASSEL_SEED=%llu\n", corpus.size(), rounds,
              static_cast<unsigned long long>(seed));
  if (corpus.empty()) return 1;
  Mutations mutations{corpus, seed};
  for (unsigned long n = 0; n < rounds; ++n) run(mutations.next());
  return 0;
}
