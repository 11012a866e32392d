// Layer actors: how a supervisor treats its children.
#pragma once

#include <chrono>
#include <string>

namespace passel::inline v0 {

/// Who is restarted when one child ends that must not (Erlang's restart strategies).
enum class Restart {
  one_for_one,   ///< that child
  one_for_all,   ///< all children
  rest_for_one,  ///< that child and those added after it
};

/// Which ends of a child call for a restart.
enum class RestartPolicy {
  permanent,  ///< every end
  transient,  ///< failures; not a normal or requested end
  temporary,  ///< none: the child is forgotten when it ends
};

/// `max_restarts` restarts within `within` are tolerated; one more and the supervisor stops
/// everything and gives up.
struct SupervisorOptions {
  std::string name = "supervisor";
  Restart strategy = Restart::one_for_one;
  unsigned max_restarts = 3;
  std::chrono::nanoseconds within = std::chrono::seconds{5};
  /// How long a killed child may take to be gone before it is called late.
  std::chrono::nanoseconds kill_grace = std::chrono::seconds{1};
};

struct ChildOptions {
  RestartPolicy restart = RestartPolicy::permanent;
  /// How long it may take to stop when asked to; then it is killed.
  std::chrono::nanoseconds shutdown = std::chrono::seconds{5};
};

}  // namespace passel::inline v0
