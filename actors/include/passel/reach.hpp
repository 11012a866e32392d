// Layer actors: how far away those may be who share an object.
#pragma once

namespace passel::inline v0 {

/// Who can share an object, and so by which road it works.
enum class Reach {
  threads,  ///< threads of this process: memory of the process, nothing is encoded
  host,     ///< processes of this host that were given the handle: shared memory
};

}  // namespace passel::inline v0
