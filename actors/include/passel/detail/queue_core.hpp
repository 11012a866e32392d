// Layer actors: what the handles of one Queue share, at either reach.
#pragma once

#include <passel/codec.hpp>
#include <passel/detail/host_queue.hpp>
#include <passel/detail/thread_queue.hpp>
#include <passel/log.hpp>
#include <passel/reach.hpp>
#include <passel/result.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace passel::inline v0 {

/// How a Queue is made.
struct QueueOptions {
  std::ptrdiff_t maxsize = 0;    ///< items; 0 or less: no limit
  std::optional<Reach> reach{};  ///< host when the items can be encoded, threads otherwise
  bool joinable = false;         ///< task_done() and join() also between processes
  std::uint64_t message_limit = std::uint64_t{1} << 30;  ///< bytes of one item (host only)
  std::uint64_t bytes_limit = std::uint64_t{1} << 30;    ///< bytes of all items (host only)
};

/// An item and how often it was handed out: more than once when a process died with it in hand.
template <class T>
struct Delivered {
  T item;
  std::uint32_t count = 1;
};

namespace detail {

[[nodiscard]] PASSEL_API Error queue_is_closed();
[[nodiscard]] PASSEL_API Error queue_needs_codec(const std::string& type);
/// The refusal of an item that carries a descriptor, by the kind of the first handle in it.
[[nodiscard]] PASSEL_API Error only_by_inheritance(const WireValue& item);
/// "expected Queue of int, found Lock".
[[nodiscard]] PASSEL_API Error wrong_handle(const std::string& kind, const std::string& type,
                                            const WireValue& found);
/// The host queue behind a handle: the object itself when it is of this process, else attached by
/// its descriptor. Checks kind and type first.
[[nodiscard]] PASSEL_API Result<std::shared_ptr<HostQueue>> open_queue(const std::string& kind,
                                                                       const std::string& type,
                                                                       const WireValue& value);
[[nodiscard]] PASSEL_API WireValue queue_handle(const std::string& kind, const std::string& type,
                                                const std::shared_ptr<HostQueue>& host,
                                                bool closed);

/// Exactly one of the two is there.
template <class T>
struct QueueCore {
  std::shared_ptr<HostQueue> host;
  std::unique_ptr<ThreadQueue<T>> threads;

  static Result<std::shared_ptr<QueueCore>> create(const QueueOptions& options) {
    const Reach reach = options.reach.value_or(Encodable<T> ? Reach::host : Reach::threads);
    auto core = std::make_shared<QueueCore>();
    if (reach == Reach::threads) {
      core->threads = std::make_unique<ThreadQueue<T>>(options.maxsize);
      return core;
    }
    if constexpr (Encodable<T>) {
      PASSEL_TRY(
          core->host,
          HostQueue::create({
              .maxsize = options.maxsize > 0 ? static_cast<std::uint64_t>(options.maxsize) : 0,
              .joinable = options.joinable,
              .type_name = type_name<T>(),
              .message_limit = options.message_limit,
              .bytes_limit = options.bytes_limit,
          }));
      return core;
    } else {
      return queue_needs_codec(compiler_name());
    }
  }

  /// Moves from `item` only when it succeeds, and only between threads.
  Result<void> put(T& item, Deadline deadline) {
    if (threads) return threads->put(item, deadline);
    return put_host(item, deadline);
  }

  Result<void> put_copy(const T& item, Deadline deadline) {
    if (!threads) return put_host(item, deadline);
    T copy{item};
    return threads->put(copy, deadline);
  }

  /// `put` says how many are in, from the front. Between threads these are moved from.
  Result<void> put_many(std::vector<T>& items, std::size_t& put, Deadline deadline) {
    if (threads) {
      return deadline.is_try() ? threads->try_put_many(items, put)
                               : threads->put_many(items, put, deadline);
    }
    return put_many_host(items, put, deadline);
  }

  Result<void> put_copies(const std::vector<T>& items, Deadline deadline) {
    std::size_t put = 0;
    if (!threads) return put_many_host(items, put, deadline);
    std::vector<T> copies{items};
    return put_many(copies, put, deadline);
  }

  Result<std::vector<T>> get_many(std::size_t most, Deadline deadline) {
    return threads ? threads->get_many(most, deadline) : get_many_host(most, deadline);
  }

  Result<Delivered<T>> get(Deadline deadline) {
    if (threads) {
      PASSEL_TRY(T item, threads->get(deadline));
      return Delivered<T>{std::move(item)};
    }
    return get_host(deadline);
  }

 private:
  static std::string compiler_name() { return std::string{compiler_type_name<T>()}; }

  Result<void> put_host(const T& item, Deadline deadline) {
    if constexpr (!Encodable<T>) {
      static_cast<void>(item), static_cast<void>(deadline);
      return queue_needs_codec(compiler_name());
    } else if constexpr (is_raw<T>) {
      const auto write = [&item](std::byte* to) { raw_write(item, to); };
      return host->put_with(raw_size(item), write, deadline);
    } else {
      const WireValue value = to_value(item);
      PASSEL_TRY(const Encoded encoded, encode_value(value));
      if (!encoded.descriptors.empty()) return only_by_inheritance(value);
      return host->put(encoded.bytes, deadline);
    }
  }

  template <class Size, class Write>
  Result<void> put_batch(std::size_t count, Size size, Write write, std::size_t& put,
                         Deadline deadline) {
    const HostQueue::Batch<Size, Write> batch{count, size, write};
    if (!deadline.is_try()) return host->put_many(batch, put, deadline);
    PASSEL_CHECK(host->try_put_many(batch));
    put = count;
    return {};
  }

  Result<void> put_many_host(const std::vector<T>& items, std::size_t& put, Deadline deadline) {
    put = 0;
    if constexpr (!Encodable<T>) {
      static_cast<void>(items), static_cast<void>(deadline);
      return queue_needs_codec(compiler_name());
    } else if constexpr (is_raw<T>) {
      return put_batch(
          items.size(), [&](std::size_t i) { return raw_size<T>(items[i]); },
          [&](std::size_t i, std::byte* to) { raw_write<T>(items[i], to); }, put, deadline);
    } else {
      std::vector<std::vector<std::byte>> encoded;
      encoded.reserve(items.size());
      for (const T& item : items) {
        const WireValue value = to_value(item);
        PASSEL_TRY(Encoded one, encode_value(value));
        if (!one.descriptors.empty()) return only_by_inheritance(value);
        encoded.push_back(std::move(one.bytes));
      }
      return put_batch(
          items.size(), [&](std::size_t i) { return encoded[i].size(); },
          [&](std::size_t i, std::byte* to) {
            std::memcpy(to, encoded[i].data(), encoded[i].size());
          },
          put, deadline);
    }
  }

  Result<std::vector<T>> get_many_host(std::size_t most, Deadline deadline) {
    if constexpr (!Encodable<T>) {
      static_cast<void>(most), static_cast<void>(deadline);
      return queue_needs_codec(compiler_name());
    } else {
      // Decoded outside of the queue's lock: a user's decode may take its time.
      std::vector<std::vector<std::byte>> copies;
      const auto read = [&copies](std::span<const std::byte> bytes) {
        copies.emplace_back(bytes.begin(), bytes.end());
      };
      PASSEL_CHECK(host->get_many(most, read, deadline));
      return decoded(copies);
    }
  }

  /// What can be decoded. An error only when none can: the others would be lost with it.
  static Result<std::vector<T>> decoded(const std::vector<std::vector<std::byte>>& copies) {
    std::vector<T> items;
    items.reserve(copies.size());
    std::optional<Error> failed;
    for (const auto& copy : copies) {
      auto item = [&]() -> Result<T> {
        if constexpr (is_raw<T>)
          return raw_read<T>(copy);
        else
          return decode<T>(copy);
      }();
      if (item) {
        items.push_back(*std::move(item));
        continue;
      }
      get_logger().error("an item of a queue was taken and cannot be read: " + item.error().what());
      failed = item.error();
    }
    if (items.empty() && failed) return *std::move(failed);
    return items;
  }

  Result<Delivered<T>> get_host(Deadline deadline) {
    if constexpr (!Encodable<T>) {
      static_cast<void>(deadline);
      return queue_needs_codec(compiler_name());
    } else if constexpr (is_raw<T>) {
      std::optional<Result<T>> item;
      const auto read = [&item](std::span<const std::byte> bytes) { item = raw_read<T>(bytes); };
      PASSEL_TRY(const Delivery delivery, host->get_with(read, deadline));
      if (item->is_err()) return item->error();
      return Delivered<T>{*std::move(*item), delivery.count};
    } else {
      // The user's decode runs on a copy: it may take its time, and may use this queue.
      std::vector<std::byte> copy;
      const auto read = [&copy](std::span<const std::byte> bytes) {
        copy.assign(bytes.begin(), bytes.end());
      };
      PASSEL_TRY(const Delivery delivery, host->get_with(read, deadline));
      PASSEL_TRY(T item, decode<T>(copy));
      return Delivered<T>{std::move(item), delivery.count};
    }
  }
};

}  // namespace detail
}  // namespace passel::inline v0
