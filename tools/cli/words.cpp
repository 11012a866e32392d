// Tool passel: words of a command line that are taken as they are.
#include "words.hpp"

#include <CLI/CLI.hpp>

namespace passel_cli {

CLI::Option* add_words(CLI::App& command, const std::string& name, std::vector<std::string>& words,
                       const std::string& help, std::size_t most) {
  CLI::Option* const option = command.add_option(
      name,
      [&words, name, most](const CLI::results_t& given) {
        if (given.size() > most)
          throw CLI::ArgumentMismatch::AtMost(name, static_cast<int>(most), given.size());
        words = given;
        return true;
      },
      help);
  // A vector of CLI11's own takes "[1,2]" for the words 1 and 2, and "{}" for none. It tears words
  // apart where extra ones are allowed, so that as many as there may be are expected instead.
  const int expected = most == 1 ? 1 : CLI::detail::expected_max_vector_size;
  return option->type_name("TEXT")
      ->expected(expected, expected)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false);
}

}  // namespace passel_cli
