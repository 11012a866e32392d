// Example crawler: finding the charset and converting with iconv.
#include "charset.hpp"

#include <iconv.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>

namespace crawler {
namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";

class Converter {
 public:
  explicit Converter(const std::string& charset) : handle_{iconv_open("UTF-8", charset.c_str())} {}
  Converter(const Converter&) = delete;
  Converter& operator=(const Converter&) = delete;
  ~Converter() {
    if (known()) iconv_close(handle_);
  }
  [[nodiscard]] bool known() const { return handle_ != reinterpret_cast<iconv_t>(-1); }

  std::string convert(std::string_view bytes) {
    std::string out;
    std::array<char, 4096> buffer;
    char* in = const_cast<char*>(bytes.data());  // iconv does not write to its input
    std::size_t left = bytes.size();
    while (left > 0) {
      char* to = buffer.data();
      std::size_t room = buffer.size();
      const bool stopped = iconv(handle_, &in, &left, &to, &room) == static_cast<std::size_t>(-1);
      const int reason = stopped ? errno : 0;
      out.append(buffer.data(), buffer.size() - room);
      if (reason == EILSEQ || reason == EINVAL) {
        out += replacement;
        ++in;
        --left;
      }
    }
    return out;
  }

 private:
  iconv_t handle_;
};

std::string lower(std::string_view text) {
  std::string out{text};
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

std::size_t sequence_length(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead < 0xE0) return 2;
  if (lead >= 0xE0 && lead < 0xF0) return 3;
  if (lead >= 0xF0 && lead < 0xF5) return 4;
  return 0;
}

bool is_utf8(std::string_view bytes) {
  for (std::size_t i = 0; i < bytes.size();) {
    const std::size_t length = sequence_length(static_cast<unsigned char>(bytes[i]));
    if (length == 0 || i + length > bytes.size()) return false;
    for (std::size_t k = 1; k < length; ++k) {
      if ((static_cast<unsigned char>(bytes[i + k]) & 0xC0) != 0x80) return false;
    }
    i += length;
  }
  return true;
}

/// The charset that a <meta> near the beginning names: both `<meta charset=x>` and the http-equiv
/// form contain "charset=".
std::string charset_in_meta(std::string_view bytes) {
  const std::string head = lower(bytes.substr(0, 1024));
  for (std::size_t tag = head.find("<meta"); tag != head.npos; tag = head.find("<meta", tag + 1)) {
    const std::string_view element = std::string_view{head}.substr(tag, head.find('>', tag) - tag);
    if (std::string found = charset_parameter(element); !found.empty()) {
      // A page that could be read this far cannot be UTF-16, whatever it says.
      return found.starts_with("utf-16") ? "utf-8" : found;
    }
  }
  return {};
}

}  // namespace

std::string charset_parameter(std::string_view content_type) {
  const std::string text = lower(content_type);
  std::size_t at = text.find("charset");
  if (at == text.npos) return {};
  at = text.find_first_not_of(" ", at + 7);
  if (at == text.npos || text[at] != '=') return {};
  at = text.find_first_not_of(" \"'", at + 1);
  if (at == text.npos) return {};
  return text.substr(at, text.find_first_of(" \"';/>", at) - at);
}

std::string charset_of(std::string_view bytes, std::string_view header_charset) {
  if (bytes.starts_with("\xEF\xBB\xBF")) return "utf-8";
  if (bytes.starts_with("\xFE\xFF")) return "utf-16be";
  if (bytes.starts_with("\xFF\xFE")) return "utf-16le";
  std::string named = lower(header_charset);
  if (named.empty()) named = charset_in_meta(bytes);
  if (named.empty()) return is_utf8(bytes) ? "utf-8" : "windows-1252";
  if (named == "utf8") return "utf-8";
  // The web's meaning of these two names.
  if (named == "iso-8859-1" || named == "us-ascii" || named == "ascii" || named == "latin1")
    return "windows-1252";
  return Converter{named}.known() ? named : "windows-1252";
}

std::string to_utf8(std::string_view bytes, const std::string& charset) {
  if (bytes.starts_with("\xEF\xBB\xBF")) bytes.remove_prefix(3);
  if (bytes.starts_with("\xFE\xFF") || bytes.starts_with("\xFF\xFE")) bytes.remove_prefix(2);
  if (charset == "utf-8" && is_utf8(bytes)) return std::string{bytes};
  Converter converter{charset};
  return converter.known() ? converter.convert(bytes) : to_utf8(bytes, "windows-1252");
}

}  // namespace crawler
