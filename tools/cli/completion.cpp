// Tool passel: completion for shells.
#include "completion.hpp"

#include <CLI/CLI.hpp>

#include <ostream>
#include <vector>

namespace passel_cli {
namespace {

struct Command {
  std::string name;
  std::string help;
  std::vector<std::string> options;
};

std::vector<Command> commands_of(const CLI::App& app) {
  std::vector<Command> commands;
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    Command command{.name = sub->get_name(), .help = sub->get_description(), .options = {}};
    for (const CLI::Option* option : sub->get_options()) {
      for (const std::string& name : option->get_lnames()) command.options.push_back("--" + name);
    }
    commands.push_back(std::move(command));
  }
  return commands;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

void print_bash(std::ostream& out, const std::vector<Command>& commands) {
  std::vector<std::string> names;
  for (const Command& command : commands) names.push_back(command.name);
  out << "_passel() {\n"
         "  local word=${COMP_WORDS[COMP_CWORD]}\n"
         "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
         "    COMPREPLY=($(compgen -W '"
      << joined(names) << " --help --version' -- \"$word\"))\n    return\n  fi\n"
      << "  case \"${COMP_WORDS[1]}\" in\n";
  for (const Command& command : commands) {
    out << "    " << command.name << ") COMPREPLY=($(compgen -W '" << joined(command.options)
        << "' -- \"$word\")) ;;\n";
  }
  out << "  esac\n}\ncomplete -o default -F _passel passel\n";
}

void print_fish(std::ostream& out, const std::vector<Command>& commands) {
  for (const Command& command : commands) {
    out << "complete -c passel -f -n __fish_use_subcommand -a " << command.name << " -d '"
        << command.help << "'\n";
    for (const std::string& option : command.options) {
      out << "complete -c passel -n '__fish_seen_subcommand_from " << command.name << "' -l "
          << option.substr(2) << '\n';
    }
  }
}

}  // namespace

bool print_completion(std::ostream& out, const CLI::App& app, const std::string& shell) {
  const std::vector<Command> commands = commands_of(app);
  if (shell == "zsh") out << "autoload -U +X bashcompinit && bashcompinit\n";
  if (shell == "bash" || shell == "zsh") {
    print_bash(out, commands);
  } else if (shell == "fish") {
    print_fish(out, commands);
  } else {
    return false;
  }
  return true;
}

}  // namespace passel_cli
