// Example crawler: Ctrl-C, counted.
#pragma once

namespace crawler {

/// Counts SIGINT and SIGTERM while it lives; the handlers before it come back afterwards. At most
/// one at a time.
class Interrupts {
 public:
  Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;
  ~Interrupts();

  /// How many came so far.
  [[nodiscard]] int count() const;
};

}  // namespace crawler
