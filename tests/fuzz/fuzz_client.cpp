// Tests, a fuzz target: the handshake as a client goes through it.
#include "fuzz_handshake.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  passel_fuzz::fuzz_handshake(passel_fuzz::Side::client, data, size);
  return 0;
}
