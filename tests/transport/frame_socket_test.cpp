// Layer transport, tests: frames and descriptors over a socket.
#include "frame_socket.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fcntl.h>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

namespace {

using passel::Errc;
using passel::Result;
using passel::detail::Deadline;
using passel::detail::Descriptor;
using passel::detail::FrameSocket;
using passel::detail::ReceivedFrame;

std::span<const std::byte> bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

std::pair<Descriptor, Descriptor> socket_pair() {
  int ends[2];
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  return {Descriptor{ends[0]}, Descriptor{ends[1]}};
}

std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator{"/proc/self/fd"})
    ++count;
  return count;
}

struct Inbox {
  std::vector<std::string> texts;
  std::vector<std::vector<std::shared_ptr<Descriptor>>> descriptors;
  void operator()(ReceivedFrame&& frame) {
    texts.emplace_back(reinterpret_cast<const char*>(frame.bytes.data()), frame.bytes.size());
    descriptors.push_back(std::move(frame.descriptors));
  }
};

class FrameSocketTest : public testing::Test {
 protected:
  FrameSocketTest() {
    auto [a, b] = socket_pair();
    left = FrameSocket{std::move(a)};
    right = FrameSocket{std::move(b)};
  }
  FrameSocket left;
  FrameSocket right;
  Inbox inbox;
};

ino_t inode(int fd) {
  struct stat info {};
  EXPECT_EQ(::fstat(fd, &info), 0);
  return info.st_ino;
}

TEST_F(FrameSocketTest, NothingThereIsNoError) {
  EXPECT_EQ(right.receive(inbox).unwrap(), 0U);
  EXPECT_TRUE(left.flush().unwrap());
}

TEST_F(FrameSocketTest, ManyFramesLeaveInOneSystemCallAndComeInOne) {
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(left.send(bytes_of(std::to_string(i))));
  EXPECT_TRUE(left.wants_write());
  EXPECT_TRUE(left.flush().unwrap());
  EXPECT_FALSE(left.wants_write());
  EXPECT_EQ(right.receive(inbox).unwrap(), 1000U);
  for (std::size_t i = 0; i < 1000; ++i) ASSERT_EQ(inbox.texts[i], std::to_string(i));
}

TEST_F(FrameSocketTest, DescriptorsArriveWithTheirFrame) {
  const std::size_t before = open_descriptors();
  const Descriptor first{::open("/proc/self/stat", O_RDONLY | O_CLOEXEC)};
  const Descriptor second{::open("/proc/self/maps", O_RDONLY | O_CLOEXEC)};
  ASSERT_TRUE(left.send(bytes_of("none")));
  ASSERT_TRUE(left.send(bytes_of("two"), std::vector<int>{first.get(), second.get()}));
  ASSERT_TRUE(left.send(bytes_of("none again")));
  ASSERT_TRUE(left.send(bytes_of("one"), std::vector<int>{second.get()}));
  ASSERT_TRUE(left.flush().unwrap());
  while (inbox.texts.size() < 4) ASSERT_TRUE(right.receive_blocking(Deadline::never(), inbox));
  EXPECT_EQ(inbox.texts, (std::vector<std::string>{"none", "two", "none again", "one"}));
  EXPECT_TRUE(inbox.descriptors[0].empty());
  ASSERT_EQ(inbox.descriptors[1].size(), 2U);
  EXPECT_EQ(inode(inbox.descriptors[1][0]->get()), inode(first.get()));
  EXPECT_EQ(inode(inbox.descriptors[1][1]->get()), inode(second.get()));
  EXPECT_TRUE(inbox.descriptors[2].empty());
  ASSERT_EQ(inbox.descriptors[3].size(), 1U);
  EXPECT_EQ(::fcntl(inbox.descriptors[3][0]->get(), F_GETFD), FD_CLOEXEC);
  inbox.descriptors.clear();
  EXPECT_EQ(open_descriptors(), before + 2);
}

TEST_F(FrameSocketTest, MoreDescriptorsThanTheKernelTakesAtOnceAreSplit) {
  const std::size_t before = open_descriptors();
  const Descriptor file{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
  const auto shared = std::make_shared<Descriptor>(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const std::vector<std::shared_ptr<Descriptor>> many(600, shared);
  ASSERT_TRUE(left.send(bytes_of("600 of them"), many));
  ASSERT_TRUE(left.send(bytes_of("one"), std::vector<int>{file.get()}));
  while (inbox.texts.size() < 2) {
    ASSERT_TRUE(left.flush());
    ASSERT_TRUE(right.receive_blocking(Deadline::never(), inbox));
  }
  EXPECT_EQ(inbox.descriptors[0].size(), 600U);
  EXPECT_EQ(inbox.descriptors[1].size(), 1U);
  inbox.descriptors.clear();
  EXPECT_EQ(open_descriptors(), before + 2);
  const auto refused =
      left.send(bytes_of("x"), std::vector<std::shared_ptr<Descriptor>>(2025, shared));
  ASSERT_TRUE(refused.is_err());
  EXPECT_TRUE(refused.error() == Errc::too_large);
  EXPECT_FALSE(left.wants_write());
}

TEST_F(FrameSocketTest, ASlowReaderGetsEverythingInParts) {
  const std::string large(5'000'000, 'p');
  ASSERT_TRUE(left.send(bytes_of(large)));
  ASSERT_TRUE(left.send(bytes_of("end")));
  EXPECT_FALSE(left.flush().unwrap());
  EXPECT_TRUE(left.wants_write());
  int flushes = 0;
  while (inbox.texts.size() < 2) {
    static_cast<void>(left.flush().unwrap());
    ++flushes;
    ASSERT_TRUE(right.receive(inbox));
  }
  EXPECT_GT(flushes, 1);
  EXPECT_EQ(inbox.texts[0], large);
  EXPECT_EQ(inbox.texts[1], "end");
  EXPECT_FALSE(left.wants_write());
}

TEST_F(FrameSocketTest, BlockingFlushWaitsForTheReader) {
  const std::string large(5'000'000, 'b');
  ASSERT_TRUE(left.send(bytes_of(large)));
  std::thread reader{[&] {
    while (inbox.texts.empty()) ASSERT_TRUE(right.receive_blocking(Deadline::never(), inbox));
  }};
  EXPECT_TRUE(left.flush_blocking(Deadline::never()).is_ok());
  reader.join();
  EXPECT_EQ(inbox.texts[0], large);
}

TEST_F(FrameSocketTest, BlockingCallsKeepTheirDeadline) {
  const auto nothing = right.receive_blocking(Deadline::after(std::chrono::milliseconds{5}), inbox);
  ASSERT_TRUE(nothing.is_err());
  EXPECT_TRUE(nothing.error() == Errc::timeout);
  ASSERT_TRUE(left.send(bytes_of(std::string(5'000'000, 'd'))));
  EXPECT_TRUE(left.flush_blocking(Deadline::after(std::chrono::milliseconds{5})).error() ==
              Errc::timeout);
}

TEST_F(FrameSocketTest, TheEndComesAfterTheFramesBeforeIt) {
  ASSERT_TRUE(left.send(bytes_of("last words")));
  ASSERT_TRUE(left.flush().unwrap());
  left.close();
  EXPECT_EQ(right.receive(inbox).unwrap(), 1U);
  const auto end = right.receive(inbox);
  ASSERT_TRUE(end.is_err());
  EXPECT_TRUE(end.error() == Errc::closed);
  ASSERT_TRUE(right.send(bytes_of("too late")));
  const auto gone = right.flush();
  ASSERT_TRUE(gone.is_err());
  EXPECT_TRUE(gone.error() == Errc::closed);
}

TEST_F(FrameSocketTest, AnEndInTheMiddleOfAFrameSaysSo) {
  auto [raw, other] = socket_pair();
  FrameSocket reader{std::move(other)};
  std::vector<std::byte> stream;
  passel::detail::append_frame(stream, bytes_of("never complete"));
  ASSERT_EQ(::write(raw.get(), stream.data(), 10), 10);
  raw.reset();
  Result<std::size_t> got = reader.receive(inbox);
  if (got) got = reader.receive(inbox);
  ASSERT_TRUE(got.is_err());
  EXPECT_TRUE(got.error() == Errc::closed);
  EXPECT_NE(got.error().what().find("middle of a frame"), std::string::npos);
  EXPECT_TRUE(inbox.texts.empty());
}

TEST_F(FrameSocketTest, LimitsAreKeptAndNamed) {
  auto [a, b] = socket_pair();
  FrameSocket sender{std::move(a), {.frame = 1000, .outbox = 2000}};
  const auto large = sender.send(bytes_of(std::string(1001, 'x')));
  ASSERT_TRUE(large.is_err());
  EXPECT_TRUE(large.error() == Errc::too_large);
  EXPECT_NE(large.error().what().find("limit 1000"), std::string::npos);
  int accepted = 0;
  Result<void> last;
  while ((last = sender.send(bytes_of(std::string(500, 'y'))))) ++accepted;
  EXPECT_TRUE(last.error() == Errc::full);
  EXPECT_EQ(accepted, 3);
  ASSERT_TRUE(sender.flush().unwrap());
  FrameSocket reader{std::move(b)};
  EXPECT_EQ(reader.receive(inbox).unwrap(), 3U);
  EXPECT_TRUE(sender.send(bytes_of("again")));
}

TEST_F(FrameSocketTest, AnnouncedDescriptorsThatDoNotComeAreMalformed) {
  const std::size_t before = open_descriptors();
  auto [a, b] = socket_pair();
  {
    FrameSocket liar{std::move(a)};
    FrameSocket reader{std::move(b)};
    const auto shared = std::make_shared<Descriptor>(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    const std::vector<std::shared_ptr<Descriptor>> one(1, shared);
    ASSERT_TRUE(liar.send(bytes_of("payload"), one));
    ASSERT_TRUE(liar.flush().unwrap());
    // The announced one came, so that is one frame; the next announces two and sends one.
    ASSERT_EQ(reader.receive(inbox).unwrap(), 1U);
    std::vector<std::byte> stream;
    passel::detail::append_frame(stream, bytes_of("payload"), 2);
    iovec bytes{stream.data(), stream.size()};
    msghdr message{};
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    ASSERT_GT(::sendmsg(liar.fd(), &message, 0), 0);
    const auto refused = reader.receive(inbox);
    ASSERT_TRUE(refused.is_err());
    EXPECT_TRUE(refused.error() == Errc::malformed);
    EXPECT_NE(refused.error().what().find("announced 2"), std::string::npos);
  }
  inbox.descriptors.clear();
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(FrameSocketTest, DescriptorsLostForWantOfRoomAreAnError) {
  const auto shared = std::make_shared<Descriptor>(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const std::vector<std::shared_ptr<Descriptor>> many(20, shared);
  ASSERT_TRUE(left.send(bytes_of("twenty"), many));
  ASSERT_TRUE(left.flush().unwrap());
  const std::size_t before = open_descriptors();
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  int lowest = ::dup(0);
  ASSERT_GE(lowest, 0);
  ::close(lowest);
  rlimit tight = limit;
  tight.rlim_cur = static_cast<rlim_t>(lowest) + 5;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
  const auto lost = right.receive(inbox);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  ASSERT_TRUE(lost.is_err());
  EXPECT_TRUE(lost.error() == Errc::no_space);
  right = FrameSocket{};
  EXPECT_EQ(open_descriptors(), before - 1);
}

}  // namespace
