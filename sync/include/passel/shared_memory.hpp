// Layer sync: a block of shared memory with a name, as Python's
// multiprocessing.shared_memory.SharedMemory.
#pragma once

#include <passel/codec.hpp>
#include <passel/export.hpp>
#include <passel/result.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace passel::inline v0 {

class ShareableList;
namespace detail {
struct NamedMemory;
}  // namespace detail

/// Bytes that several processes of this host use at once. Source of the semantics: Python's
/// multiprocessing.shared_memory.SharedMemory; what differs is below.
///
///     auto memory = passel::SharedMemory::create(512).unwrap();
///     memory.buf()[0] = std::byte{42};
///     auto p = passel::Process::spawn<work>(memory).unwrap();     // as an argument, or
///     auto same = passel::SharedMemory::attach(memory.name());    // by name, in any process
///     memory.unlink().unwrap();                                   // nobody new gets in
///
/// A SharedMemory is a handle: copies in one process are one mapping, which goes with the last of
/// them that is closed. The bytes are zero when new; their memory is taken when it is created, so
/// that a write never fails later. Access to them is not synchronised: use a Lock.
///
/// **Where the name lives.** There is no file: nothing is in /dev/shm, not even after everybody was
/// killed, and no tracker process is needed (Python's `track` has no counterpart). The name is the
/// label of the memory's descriptor, and `attach` looks for it among the open descriptors of this
/// user's processes. It follows that
/// - the memory and its name live as long as any process has a SharedMemory of it, closed or not;
///   Python's live until somebody calls unlink. What is closed and unlinked keeps nothing;
/// - a name reaches processes of the same user in the same pid namespace, and not into a process
///   that forbids looking at it (PR_SET_DUMPABLE, setuid programs);
/// - memory that is only on its way to a process that is being started is not found by name;
/// - a search reads the descriptor tables of this user's processes, tens of microseconds for each
/// of
///   them. It begins where an automatic name was made and in the calling process; `create` with a
///   name and an `attach` in vain look everywhere. Handing the object over as an argument needs no
///   search.
///
/// **unlink** takes the name away: `attach`, and a process that is handed the object, get
/// not_found. Whoever has it open goes on, and the name is free again.
///
/// | state of this handle | buf | unlink | copy, hand over |
/// | --- | --- | --- | --- |
/// | open | the bytes | not_found when it was unlinked before | open |
/// | closed | empty | the same | a copy is closed, what arrives elsewhere is open |
/// | moved from, or closed and unlinked | empty | not_found | not_found |
///
/// Functions of one handle are for one thread at a time; different handles, also of one memory, may
/// be used by any threads and processes at once.
class PASSEL_API SharedMemory {
 public:
  /// Longest name in bytes.
  static constexpr std::size_t name_limit = 200;

  /// New memory of `size` zero bytes. Without a name it gets one of its own ("psm_PID_..."). Does
  /// not wait, except for another process that is just claiming the same name, a second at most.
  /// Errors: invalid_argument (size 0 or more than can be addressed; a name that is over the limit
  /// or has a NUL or a slash in it); refused when somebody of this user has memory of that name
  /// (Python: FileExistsError); no_space when the host, the control group, a limit of the process
  /// (RLIMIT_FSIZE) or the descriptors do not allow it. (Python: SharedMemory(name, create=True,
  /// size=n))
  [[nodiscard]] static Result<SharedMemory> create(std::size_t size, std::string_view name = {});
  /// The memory of that name, wherever it was created. Waits as `create` does. Errors:
  /// invalid_argument for what cannot be a name, also an empty one; not_found when there is none or
  /// it was unlinked; no_space. (Python: SharedMemory(name))
  [[nodiscard]] static Result<SharedMemory> attach(std::string_view name);

  /// The bytes; empty on a closed handle. Valid until the last copy of this handle in this process
  /// is closed or gone.
  [[nodiscard]] std::span<std::byte> buf() const noexcept;
  /// Also after close.
  [[nodiscard]] const std::string& name() const noexcept;
  /// The bytes asked for at creation; also after close.
  [[nodiscard]] std::size_t size() const noexcept;

  /// Takes the bytes out of reach of this handle; others go on. The name is not touched. May be
  /// repeated.
  void close() noexcept;
  [[nodiscard]] bool closed() const noexcept { return mapping_ == nullptr; }
  /// Takes the name away from everybody; also after close. Exactly one call succeeds, whichever
  /// handle and process it comes from. Errors: not_found when it was unlinked before; no_space.
  Result<void> unlink();

  /// "SharedMemory('psm_7_1f', size=512)"
  [[nodiscard]] std::string to_string() const;

 private:
  friend codec<SharedMemory>;
  friend ShareableList;
  friend codec<ShareableList>;
  explicit SharedMemory(std::shared_ptr<detail::NamedMemory> memory);

  using Fill = std::function<void(std::span<std::byte>)>;
  /// As create; `fill` writes to the bytes before anybody can find them by name.
  static Result<SharedMemory> create_filled(std::size_t size, std::string_view name,
                                            const Fill& fill);
  void give_back() noexcept;
  static Result<SharedMemory> open(std::string_view kind, const WireValue& value);
  [[nodiscard]] WireValue handle(std::string kind) const;

  std::shared_ptr<detail::NamedMemory> memory_;
  std::shared_ptr<std::byte> mapping_;  // null when closed; the last copy unmaps
};

/// A SharedMemory travels as a handle, to a process that is being started or called. What arrives
/// is open. Errors there: not_found when it was unlinked meanwhile.
template <>
struct PASSEL_API codec<SharedMemory> {
  static std::string name() { return "SharedMemory"; }
  static WireValue encode(const SharedMemory& memory) { return memory.handle(name()); }
  static Result<SharedMemory> decode(const WireValue& value) {
    return SharedMemory::open(name(), value);
  }
};

}  // namespace passel::inline v0
