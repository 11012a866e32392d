// Layer transport, tests: cutting a byte stream into frames.
#include "frame.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace {

using passel::Errc;
using passel::Result;
using passel::detail::append_frame;
using passel::detail::FrameHeader;
using passel::detail::FrameReader;

std::vector<std::byte> bytes_of(const std::string& text) {
  const auto* from = reinterpret_cast<const std::byte*>(text.data());
  return {from, from + text.size()};
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void feed(FrameReader& reader, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const auto space = reader.space();
    const std::size_t count = std::min(space.size(), bytes.size());
    std::memcpy(space.data(), bytes.data(), count);
    reader.received(count);
    bytes = bytes.subspan(count);
  }
}

Result<std::vector<std::string>> take_all(FrameReader& reader) {
  std::vector<std::string> out;
  while (true) {
    PASSEL_TRY(const auto frame, reader.next());
    if (!frame) return out;
    EXPECT_EQ(
        reinterpret_cast<std::uintptr_t>(frame->payload.data()) % (frame->payload.empty() ? 1 : 8),
        0U);
    out.push_back(text_of(frame->payload));
  }
}

std::vector<std::byte> header_bytes(FrameHeader header) {
  std::vector<std::byte> out(sizeof header);
  std::memcpy(out.data(), &header, sizeof header);
  return out;
}

TEST(Frame, ComesOutAsItWentInHoweverTheStreamIsCut) {
  const std::vector<std::string> sent{"", "a", "twelve bytes", std::string(1000, 'x'), "eight by"};
  std::vector<std::byte> stream;
  for (const auto& text : sent) append_frame(stream, bytes_of(text));
  for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
    FrameReader reader;
    feed(reader, std::span{stream}.first(cut));
    auto got = take_all(reader).unwrap();
    feed(reader, std::span{stream}.subspan(cut));
    for (auto& text : take_all(reader).unwrap()) got.push_back(std::move(text));
    ASSERT_EQ(got, sent) << "cut after " << cut;
    ASSERT_EQ(reader.pending(), 0U);
  }
}

TEST(Frame, ComesOutByteByByte) {
  std::vector<std::byte> stream;
  append_frame(stream, bytes_of("hello"), 3);
  FrameReader reader;
  for (std::size_t i = 0; i < stream.size(); ++i) {
    EXPECT_FALSE(reader.next().unwrap()) << "complete after " << i << " bytes";
    feed(reader, std::span{stream}.subspan(i, 1));
  }
  const auto frame = reader.next().unwrap();
  ASSERT_TRUE(frame);
  EXPECT_EQ(text_of(frame->payload), "hello");
  EXPECT_EQ(frame->descriptors, 3U);
}

TEST(Frame, LargeFramesPass) {
  const std::string large(3'000'003, 'L');
  std::vector<std::byte> stream;
  append_frame(stream, bytes_of("small"));
  append_frame(stream, bytes_of(large));
  append_frame(stream, bytes_of("after"));
  FrameReader reader;
  std::vector<std::string> got;
  for (std::size_t at = 0; at < stream.size(); at += 10'000) {
    feed(reader, std::span{stream}.subspan(at, std::min<std::size_t>(10'000, stream.size() - at)));
    for (auto& text : take_all(reader).unwrap()) got.push_back(std::move(text));
  }
  EXPECT_EQ(got, (std::vector<std::string>{"small", large, "after"}));
}

TEST(Frame, AnnouncedLengthOverTheLimitIsRefusedBeforeMemoryIsTaken) {
  for (const std::uint32_t length : {1001U, 0x7fffffffU, 0x80000000U, 0xffffffffU}) {
    FrameReader reader{1000};
    feed(reader, header_bytes({length, 0}));
    const std::size_t before = reader.capacity();
    const auto refused = reader.next();
    ASSERT_TRUE(refused.is_err()) << length;
    EXPECT_TRUE(refused.error() == Errc::too_large);
    EXPECT_NE(refused.error().what().find(std::to_string(length)), std::string::npos)
        << refused.error().what();
    EXPECT_NE(refused.error().what().find("1000"), std::string::npos) << refused.error().what();
    EXPECT_EQ(reader.capacity(), before);
  }
  FrameReader reader{1000};
  feed(reader, header_bytes({1000, 0}));
  EXPECT_TRUE(reader.next().is_ok());
}

TEST(Frame, AnAnnouncementAloneTakesNoMemory) {
  FrameReader reader;
  feed(reader, header_bytes({60U << 20, 0}));
  EXPECT_FALSE(reader.next().unwrap());
  static_cast<void>(reader.space());
  EXPECT_LE(reader.capacity(), std::size_t{128} << 10);
}

TEST(Frame, TooManyAnnouncedDescriptorsAreMalformed) {
  FrameReader reader;
  feed(reader, header_bytes({8, 0xffffffffU}));
  const auto refused = reader.next();
  ASSERT_TRUE(refused.is_err());
  EXPECT_TRUE(refused.error() == Errc::malformed);
}

TEST(Frame, FlippedBitsNeverCrash) {
  std::random_device device;
  const std::uint32_t seed = device();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random{seed};
  std::vector<std::byte> stream;
  for (int i = 0; i < 20; ++i) append_frame(stream, bytes_of(std::string(random() % 100, 'f')));
  for (int round = 0; round < 2000; ++round) {
    auto damaged = stream;
    for (std::uint32_t flips = 1 + random() % 4; flips > 0; --flips) {
      damaged[random() % damaged.size()] ^= std::byte{1} << (random() % 8);
    }
    FrameReader reader{4096};
    feed(reader, damaged);
    std::size_t total = 0;
    if (const auto got = take_all(reader)) {
      for (const auto& text : *got) total += text.size();
    }
    ASSERT_LE(total, damaged.size());
  }
}

}  // namespace
