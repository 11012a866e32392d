// Tool passel: what it prints.
#include "output.hpp"

#include <iostream>

namespace passel_cli {

passel::Result<void> flush_output() {
  if (std::cout.flush()) return {};
  return passel::Error{passel::Errc::system, "not everything could be written to the output"};
}

}  // namespace passel_cli
