// Example crawler: a guard in front of the parser.
#pragma once

#include <cstddef>
#include <string_view>

namespace crawler {

/// How deeply the elements of a page are nested, roughly: tags that were never closed count, those
/// that HTML closes by itself (p, li, td, br, ...) do not, nor what stands in scripts, styles and
/// comments. The parser's time grows with the square of this, so that one page of nothing but
/// "<div>" would keep a fetcher busy for hours.
std::size_t nesting_of(std::string_view html);

}  // namespace crawler
