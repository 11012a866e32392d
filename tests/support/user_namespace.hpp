// Test support: a process without rights that has those of root in a namespace of its own.
#pragma once

namespace passel_test {

/// With `PASSEL_TEST_USER_NAMESPACE` in the environment this process becomes what one of an
/// ordinary user is after `unshare --user --map-root-user`: root of a new user namespace, in which
/// it may make networks, and nobody outside of it. Whoever is root becomes nobody first. Call it
/// first in main: the kernel asks for a process with one thread. Where the system does not let
/// ordinary users have namespaces it says so and ends the process, as skipped.
void enter_user_namespace_when_asked();

}  // namespace passel_test
