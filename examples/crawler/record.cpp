// Example crawler: records as JSON. Members without news are left out, so that most lines stay
// short.
#include "record.hpp"

#include <nlohmann/json.hpp>

namespace crawler {

void to_json(nlohmann::json& json, const Record& record) {
  json = {{"url", record.url},
          {"final_url", record.final_url},
          {"status", record.status},
          {"depth", record.depth},
          {"referrer", record.referrer},
          {"title", record.title},
          {"content_type", record.content_type},
          {"html", record.html},
          {"bytes", record.bytes},
          {"ms", record.ms},
          {"worker", record.worker},
          {"attempts", record.attempts},
          {"links", record.links},
          {"error", record.error}};
  if (record.noindex) json["noindex"] = true;
  if (record.skipped) json["skipped"] = true;
  if (!record.hops.empty()) json["hops"] = record.hops;
  if (!record.malformed.empty()) json["malformed_links"] = record.malformed;
}

void from_json(const nlohmann::json& json, Record& record) {
  json.at("url").get_to(record.url);
  json.at("final_url").get_to(record.final_url);
  json.at("status").get_to(record.status);
  json.at("depth").get_to(record.depth);
  json.at("referrer").get_to(record.referrer);
  json.at("title").get_to(record.title);
  json.at("content_type").get_to(record.content_type);
  json.at("html").get_to(record.html);
  json.at("bytes").get_to(record.bytes);
  json.at("ms").get_to(record.ms);
  json.at("worker").get_to(record.worker);
  json.at("attempts").get_to(record.attempts);
  json.at("links").get_to(record.links);
  json.at("error").get_to(record.error);
  record.noindex = json.value("noindex", false);
  record.skipped = json.value("skipped", false);
  record.hops = json.value("hops", std::vector<std::string>{});
  record.malformed = json.value("malformed_links", std::vector<std::string>{});
}

}  // namespace crawler
