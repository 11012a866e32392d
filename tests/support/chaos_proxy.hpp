// Test support: a line between a client and a server that can be cut, held, muted and bent.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace passel_test {

/// Passes on what clients of its port at 127.0.0.1 and a server at another one say to each other,
/// as far as it is let. One thread; all functions may be called from any other one.
class ChaosProxy {
 public:
  enum class Way { there, back };  ///< from client to server, from server to client
  /// May change a piece of what is said; a piece that it empties is lost.
  using Change = std::function<void(std::string& piece, Way way)>;

  explicit ChaosProxy(std::uint16_t server, Change change = {});
  ChaosProxy(const ChaosProxy&) = delete;
  ChaosProxy& operator=(const ChaosProxy&) = delete;
  ~ChaosProxy();

  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
  /// What goes that way stays where it is, and who says it is told nothing. New lines are made.
  void hold(Way way) { set(way, Mode::held); }
  /// What goes that way is swallowed.
  void lose(Way way) { set(way, Mode::lost); }
  /// Passes on again, also what was held.
  void pass(Way way) { set(way, Mode::passed); }
  void hold() { set(Mode::held); }
  void pass() { set(Mode::passed); }
  /// Ends every line with a reset on both sides.
  void cut() { cut(Cut::both); }
  /// Resets every line at the server's end; the client is told nothing, and not heard any more.
  void cut_server() { cut(Cut::server); }
  /// How many lines there were so far.
  [[nodiscard]] std::size_t lines() const noexcept { return lines_.load(); }

 private:
  enum class Mode { passed, held, lost };
  enum class Cut { none, server, both };
  struct Half {
    int from = -1;
    int to = -1;
    Way way = Way::there;
    std::string waiting{};
  };
  struct Line {
    Half there;
    Half back;
  };

  void set(Way way, Mode mode);
  void set(Mode mode) {
    set(Way::there, mode);
    set(Way::back, mode);
  }
  void wake() const;
  void run();
  void add_line();
  /// False when the line is at its end.
  bool move(Half& half, short from_events, short to_events);
  static void end(int fd, bool reset);
  void cut(Cut which);
  void make_cut();

  const std::uint16_t server_;
  const Change change_;
  std::uint16_t port_ = 0;
  int door_ = -1;
  int wakes_[2] = {-1, -1};
  std::atomic<Mode> mode_[2] = {Mode::passed, Mode::passed};
  std::atomic<bool> over_{false};
  std::atomic<Cut> cut_{Cut::none};
  std::atomic<std::size_t> lines_{0};
  std::list<Line> open_;      // of the thread
  std::vector<int> orphans_;  // of the thread: clients whose other end is gone
  std::thread thread_;
};

}  // namespace passel_test
