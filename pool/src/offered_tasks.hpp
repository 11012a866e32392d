// Layer pool: the names of tasks at a broker: which are offered, with which types, and by whom.
#pragma once

#include <passel/detail/exposed_task.hpp>
#include <passel/result.hpp>

#include "broker_ledger.hpp"

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace passel::inline v0::detail {

/// Names are known as long as a worker that offers or has offered them, or a task, is there. A
/// machine.
class OfferedTasks {
 public:
  static constexpr std::size_t most_names = 100'000;

  /// Why a task of another type cannot be offered or asked for: somebody offers it. Error:
  /// type_mismatch, naming both.
  [[nodiscard]] std::optional<Error> mismatch(const TaskSign& asked,
                                              const std::string& build) const;
  /// Why nobody can do that task while others can do something: not_found, naming what there is.
  [[nodiscard]] std::optional<Error> unknown(const std::string& name) const;
  /// Whether so many names can be known. Errors: full.
  [[nodiscard]] Result<void> check_room(std::span<const TaskSign> tasks) const;
  [[nodiscard]] Result<void> check_room(const std::string& name) const;

  /// One more who needs the number of that name, until `let_go`.
  BrokerName hold(const std::string& name);
  void let_go(const std::string& name);
  /// One more who offers it, until `withdraw`. The name has to be held.
  void offer(const TaskSign& sign, const std::string& build, const std::string& worker);
  void withdraw(const std::string& name);

  [[nodiscard]] BrokerName number_of(const std::string& name) const {
    return names_.at(name).number;
  }
  /// What is offered, sorted: "fetch(str, int) -> object".
  [[nodiscard]] std::vector<std::string> signatures() const;

 private:
  struct Offer {
    TaskSign sign;
    std::string build;
    std::string worker;
    std::size_t times = 0;
  };
  struct Name {
    BrokerName number = 0;
    std::size_t times = 0;  // that it is held
  };
  [[nodiscard]] Result<void> check_room(std::size_t fresh) const;

  std::map<std::string, Name, std::less<>> names_;
  std::map<std::string, Offer, std::less<>> offers_;
  BrokerName last_ = 0;
};

}  // namespace passel::inline v0::detail
