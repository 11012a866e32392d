// Layer transport: how soon a session over a network notices that the other side is cut off.
#pragma once

#include <chrono>

namespace passel::inline v0::detail {

/// After so long a silence the other side is asked whether it lives ...
inline constexpr std::chrono::milliseconds session_heartbeat{2000};
/// ... and after this one it counts as lost.
inline constexpr std::chrono::milliseconds session_silence{6000};

}  // namespace passel::inline v0::detail
