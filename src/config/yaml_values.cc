#include "config/yaml_values.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>

namespace pgsteady::config {
namespace {

namespace json = boost::json;

json::value scalar_to_json(const YAML::Node& node) {
  const auto& text = node.Scalar();
  if (node.Tag() == "!") return json::value(text);  // quoted
  if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") {
    return nullptr;
  }
  if (auto boolean = yaml_boolean(text)) return *boolean;
  const char* end = text.data() + text.size();
  std::int64_t whole = 0;
  if (auto [stop, error] = std::from_chars(text.data(), end, whole);
      error == std::errc{} && stop == end) {
    return whole;
  }
  double real = 0;
  bool numeric = text.find('.') != std::string::npos &&
                 text.find_first_not_of("+-.0123456789eE") == std::string::npos;
  if (auto [stop, error] = std::from_chars(text.data(), end, real);
      numeric && error == std::errc{} && stop == end && std::isfinite(real)) {
    return real;
  }
  return json::value(text);
}

json::value convert(const YAML::Node& node, int depth) {
  if (depth > 64) throw YAML::Exception(node.Mark(), "nested too deeply");
  switch (node.Type()) {
    case YAML::NodeType::Scalar:
      return scalar_to_json(node);
    case YAML::NodeType::Sequence: {
      json::array array;
      for (const auto& item : node) array.push_back(convert(item, depth + 1));
      return array;
    }
    case YAML::NodeType::Map: {
      json::object object;
      for (const auto& pair : node) {
        if (!pair.first.IsScalar()) throw YAML::Exception(pair.first.Mark(), "a key is no text");
        object[pair.first.Scalar()] = convert(pair.second, depth + 1);
      }
      return object;
    }
    default:
      return nullptr;
  }
}

}  // namespace

std::optional<bool> yaml_boolean(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (text == "true" || text == "yes" || text == "on") return true;
  if (text == "false" || text == "no" || text == "off") return false;
  return std::nullopt;
}

json::value yaml_to_json(const YAML::Node& node) {
  return convert(node, 0);
}

}  // namespace pgsteady::config
