// Example crawler: a walk over the parsed page that collects title, links and robots hints.
#include "page.hpp"

#include "charset.hpp"
#include "nesting.hpp"
#include "url.hpp"

#include <gumbo.h>

#include <cctype>
#include <memory>
#include <unordered_set>

namespace crawler {
namespace {

constexpr std::size_t max_title = 500;

std::string_view attribute(const GumboElement& element, const char* name) {
  const GumboAttribute* found = gumbo_get_attribute(&element.attributes, name);
  return found == nullptr ? std::string_view{} : std::string_view{found->value};
}

/// Whether one of the words of `list` (separated by blanks or commas) is `word`, in any case.
bool has_word(std::string_view list, std::string_view word) {
  std::string current;
  for (std::size_t i = 0; i <= list.size(); ++i) {
    const char c = i < list.size() ? list[i] : ' ';
    if (c != ' ' && c != ',' && c != '\t' && c != '\n') {
      current += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else {
      if (current == word) return true;
      current.clear();
    }
  }
  return false;
}

void append_folded(std::string& out, std::string_view text) {
  for (char c : text) {
    const bool blank = std::isspace(static_cast<unsigned char>(c)) != 0;
    if (!blank) {
      out += c;
    } else if (!out.empty() && out.back() != ' ') {
      out += ' ';
    }
  }
}

class Reader {
 public:
  Reader(const std::string& url, PageOptions options) : base_{url}, url_{url}, options_{options} {}

  Page read(const GumboNode* root) {
    visit_all(root);
    while (!page_.title.empty() && page_.title.back() == ' ') page_.title.pop_back();
    if (page_.title.size() > max_title) {
      std::size_t end = max_title;  // not in the middle of a character
      while ((static_cast<unsigned char>(page_.title[end]) & 0xC0) == 0x80) --end;
      page_.title.resize(end);
    }
    if (nofollow_) {
      page_.links.clear();
      page_.malformed.clear();
    }
    return std::move(page_);
  }

 private:
  /// In document order and without recursion: pages may be nested more deeply than a stack.
  void visit_all(const GumboNode* root) {
    const GumboNode* node = root;
    while (node != nullptr) {
      const GumboNode* child = nullptr;
      if (node->type == GUMBO_NODE_ELEMENT || node->type == GUMBO_NODE_TEMPLATE) {
        visit(node->v.element);
        if (node->v.element.children.length > 0) {
          child = static_cast<const GumboNode*>(node->v.element.children.data[0]);
        }
      }
      node = child != nullptr ? child : next_after(node, root);
    }
  }

  static const GumboNode* next_after(const GumboNode* node, const GumboNode* root) {
    while (node != root) {
      const GumboVector& siblings = node->parent->v.element.children;
      if (node->index_within_parent + 1 < siblings.length) {
        return static_cast<const GumboNode*>(siblings.data[node->index_within_parent + 1]);
      }
      node = node->parent;
    }
    return nullptr;
  }

  void visit(const GumboElement& element) {
    switch (element.tag) {
      case GUMBO_TAG_TITLE: title(element); break;
      case GUMBO_TAG_BASE: base(attribute(element, "href")); break;
      case GUMBO_TAG_META: meta(element); break;
      case GUMBO_TAG_A:
      case GUMBO_TAG_AREA: link(element, "href"); break;
      case GUMBO_TAG_LINK:
        if (has_word(attribute(element, "rel"), "next") ||
            has_word(attribute(element, "rel"), "prev")) {
          link(element, "href");
        }
        break;
      case GUMBO_TAG_IMG:
        if (options_.images) link(element, "src");
        break;
      default: break;
    }
  }

  void title(const GumboElement& element) {
    if (!page_.title.empty()) return;  // an <svg> has titles too
    for (unsigned i = 0; i < element.children.length; ++i) {
      const auto* child = static_cast<const GumboNode*>(element.children.data[i]);
      if (child->type == GUMBO_NODE_TEXT || child->type == GUMBO_NODE_WHITESPACE) {
        append_folded(page_.title, child->v.text.text);
      }
    }
  }

  void base(std::string_view href) {
    if (has_base_ || href.empty()) return;
    if (auto resolved = resolve_url(url_, href)) {
      base_ = *std::move(resolved);
      has_base_ = true;
    }
  }

  void meta(const GumboElement& element) {
    if (!has_word(attribute(element, "name"), "robots")) return;
    const std::string_view content = attribute(element, "content");
    const bool none = has_word(content, "none");
    page_.noindex = page_.noindex || none || has_word(content, "noindex");
    nofollow_ = nofollow_ || (options_.obey_nofollow && (none || has_word(content, "nofollow")));
  }

  void link(const GumboElement& element, const char* name) {
    if (gumbo_get_attribute(&element.attributes, name) == nullptr) return;
    if (options_.obey_nofollow && has_word(attribute(element, "rel"), "nofollow")) return;
    std::string_view reference = attribute(element, name);
    // Long pages link to the same few pages thousands of times, each time to another part of them.
    reference = reference.substr(0, reference.find('#'));
    if (!references_.emplace(reference).second) return;
    auto resolved = resolve_url(base_, reference);
    if (resolved) {
      if (seen_.insert(*resolved).second) page_.links.push_back(*std::move(resolved));
    } else if (resolved.error() == passel::Errc::malformed) {
      page_.malformed.emplace_back(reference);
    }
  }

  Page page_;
  std::string base_;
  const std::string& url_;
  PageOptions options_;
  bool has_base_ = false;
  bool nofollow_ = false;
  std::unordered_set<std::string> references_;
  std::unordered_set<std::string> seen_;
};

struct FreeOutput {
  void operator()(GumboOutput* output) const {
    gumbo_destroy_output(&kGumboDefaultOptions, output);
  }
};

}  // namespace

Page parse_page(std::string_view bytes, std::string_view header_charset, const std::string& url,
                PageOptions options) {
  const std::string text = to_utf8(bytes, charset_of(bytes, header_charset));
  if (nesting_of(text) > max_nesting) {
    Page page;
    page.too_deep = true;
    return page;
  }
  const std::unique_ptr<GumboOutput, FreeOutput> output{
      gumbo_parse_with_options(&kGumboDefaultOptions, text.data(), text.size())};
  if (output == nullptr) return {};
  return Reader{url, options}.read(output->root);
}

}  // namespace crawler
