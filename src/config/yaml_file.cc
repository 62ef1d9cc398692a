#include "config/yaml_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace pgsteady::config {
namespace {

constexpr std::uintmax_t kMaxFileBytes = 1 << 20;

Result<std::string> read_file(const std::string& path) {
  std::error_code error;
  auto size = std::filesystem::file_size(path, error);
  if (error) {
    auto kind =
        error == std::errc::no_such_file_or_directory ? ErrorKind::not_found : ErrorKind::refused;
    return fail(kind, fmt::format("{}: cannot read the configuration: {}", path, error.message()));
  }
  if (size > kMaxFileBytes) {
    return fail(ErrorKind::refused, fmt::format("{}: {} bytes are no configuration", path, size));
  }
  std::ifstream file(path, std::ios::binary);
  std::stringstream content;
  if (!file || (size > 0 && !(content << file.rdbuf()))) {
    return fail(ErrorKind::refused,
                fmt::format("{}: cannot read the configuration: permission denied", path),
                "it must be readable by the user who runs pgsteady");
  }
  return content.str();
}

}  // namespace

Result<Findings> read_yaml(const std::string& path,
                           const std::function<void(const YAML::Node&, Findings&)>& read) {
  Findings findings;
  findings.file = path.empty() ? "environment" : path;
  auto content = path.empty() ? Result<std::string>("") : read_file(path);
  if (!content) return tl::unexpected(content.error());
  try {
    auto documents = YAML::LoadAll(*content);
    if (documents.size() > 1) {
      auto line = documents[1].Mark().line + 1;
      findings.errors.push_back(
          fmt::format("{}:{}: a second YAML document, expected one", path, line));
    }
    read(documents.empty() ? YAML::Node() : documents.front(), findings);
  } catch (const YAML::Exception& error) {
    auto line = error.mark.is_null() ? "" : fmt::format(":{}", error.mark.line + 1);
    findings.errors.push_back(fmt::format("{}{}: not readable as YAML: {}", path, line, error.msg));
  } catch (const std::exception& error) {
    findings.errors.push_back(fmt::format("{}: not readable: {}", path, error.what()));
  }
  if (findings.errors.empty()) return findings;
  return fail(ErrorKind::refused, fmt::format("{}", fmt::join(findings.errors, "\n")));
}

}  // namespace pgsteady::config
