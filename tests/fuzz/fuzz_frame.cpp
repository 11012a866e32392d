// Tests, a fuzz target: the frame decoder.
#include "frame.hpp"
#include "fuzz_input.hpp"

#include <cstring>

using passel::detail::FrameReader;
using passel_fuzz::demand;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t limit = 4096;
  passel_fuzz::Pieces pieces{data, size};
  FrameReader reader{limit};
  std::size_t fed = 0;
  std::size_t taken = 0;
  while (!pieces.done()) {
    for (auto piece = pieces.next(); !piece.empty();) {
      const auto space = reader.space();
      demand("there is always room for a byte", !space.empty());
      const std::size_t count = std::min(space.size(), piece.size());
      std::memcpy(space.data(), piece.data(), count);
      reader.received(count);
      fed += count;
      piece = piece.subspan(count);
    }
    while (true) {
      const auto frame = reader.next();
      if (!frame) return 0;
      if (!*frame) break;
      const auto payload = (*frame)->payload;
      demand("no frame is over the limit", payload.size() <= limit);
      taken += passel::detail::frame_header_size + payload.size();
      demand("what comes out came in", taken + reader.pending() <= fed);
    }
  }
  demand("memory grows with what came", reader.capacity() <= fed + (std::size_t{1} << 18));
  return 0;
}
