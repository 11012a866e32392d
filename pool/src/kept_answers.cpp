// Layer pool: answers of a broker for submitters that are slow to read.
#include "kept_answers.hpp"

#include <string>
#include <utility>

namespace passel::inline v0::detail {

void KeptAnswers::answer(std::uint64_t session, std::uint64_t call, HostedReply reply,
                         Encoded answer) {
  const auto site = site_.lock();
  if (!site || (first_of(session) == kept_.end() && site->has_room(session)))
    return reply.set(std::move(answer));
  const std::size_t bytes = bytes_ + answer.bytes.size();
  if (bytes > max_bytes) {
    return reply.set(
        Error{Errc::full, "answers that submitters have not read: " + std::to_string(bytes) +
                              " bytes, limit " + std::to_string(max_bytes)});
  }
  bytes_ = bytes;
  kept_.emplace(Key{session, call}, Kept{std::move(reply), std::move(answer)});
  // Room may have come while it was asked for.
  deliver(session);
}

void KeptAnswers::deliver(std::uint64_t session) {
  const auto site = site_.lock();
  while (first_of(session) != kept_.end() && (!site || site->has_room(session))) {
    Kept one = take(first_of(session));
    one.reply.set(std::move(one.answer));
  }
}

void KeptAnswers::drop(std::uint64_t session, std::uint64_t call) {
  const auto found = kept_.find({session, call});
  if (found != kept_.end()) static_cast<void>(take(found));
}

KeptAnswers::All::iterator KeptAnswers::first_of(std::uint64_t session) {
  const auto found = kept_.lower_bound({session, 0});
  return found != kept_.end() && found->first.first == session ? found : kept_.end();
}

KeptAnswers::Kept KeptAnswers::take(All::iterator one) {
  Kept taken = std::move(one->second);
  bytes_ -= taken.answer.bytes.size();
  kept_.erase(one);
  return taken;
}

}  // namespace passel::inline v0::detail
