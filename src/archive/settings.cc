#include "archive/settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <string_view>

#include "postgres/files.h"
#include "store/directory.h"

namespace pgsteady::archive {
namespace {

std::string value_of(const Variables& variables, const std::string& name) {
  auto found = variables.find(name);
  return found == variables.end() ? std::string() : found->second;
}

std::string first_line_of(const std::string& content) {
  auto line = content.substr(0, content.find('\n'));
  line.erase(line.find_last_not_of(" \t\r") + 1);
  return line;
}

std::string first_of(const Variables& variables, const std::string& name,
                     const std::string& other) {
  auto value = value_of(variables, name);
  return value.empty() ? value_of(variables, other) : value;
}

// "https+path://host:443" of WAL-E: the plus tells the style.
void read_wale_endpoint(std::string endpoint, store::S3Options& s3) {
  const auto plus = endpoint.find('+'), scheme_end = endpoint.find("://");
  if (plus < scheme_end && scheme_end != std::string::npos) {
    s3.path_style = endpoint.substr(plus + 1, scheme_end - plus - 1) == "path";
    endpoint.erase(plus, scheme_end - plus);
  }
  s3.endpoint = endpoint;
}

void read_s3(const Variables& variables, store::S3Options& s3) {
  const auto region = first_of(variables, "AWS_REGION", "AWS_DEFAULT_REGION");
  if (!region.empty()) s3.region = region;
  read_wale_endpoint(value_of(variables, "WALE_S3_ENDPOINT"), s3);
  if (const auto own = value_of(variables, "AWS_ENDPOINT"); !own.empty()) s3.endpoint = own;
  if (const auto style = value_of(variables, "AWS_S3_FORCE_PATH_STYLE"); !style.empty()) {
    s3.path_style = style == "true" || style == "1" || style == "on" || style == "yes";
  }
  s3.ca_file = value_of(variables, "WALG_S3_CA_CERT_FILE");
  s3.sse = value_of(variables, "WALG_S3_SSE");
  s3.sse_kms_id = value_of(variables, "WALG_S3_SSE_KMS_ID");
  s3.storage_class = value_of(variables, "WALG_S3_STORAGE_CLASS");
  s3.credentials = {value_of(variables, "AWS_ACCESS_KEY_ID"),
                    value_of(variables, "AWS_SECRET_ACCESS_KEY"),
                    value_of(variables, "AWS_SESSION_TOKEN")};
}

Result<void> read_directory(std::string path, Settings& settings) {
  if (path.starts_with("file://")) path.erase(0, 7);
  settings.directory = path;
  if (path.starts_with('/')) return {};
  return fail(ErrorKind::refused,
              fmt::format("WALG_FILE_PREFIX is \"{}\", no absolute path", path));
}

Result<void> read_place(const Variables& variables, Settings& settings) {
  const auto directory = value_of(variables, "WALG_FILE_PREFIX");
  const auto url = first_of(variables, "WALG_S3_PREFIX", "WALE_S3_PREFIX");
  if (!directory.empty() && !url.empty()) {
    return fail(ErrorKind::refused, "both a directory and a bucket are named as the archive",
                "set either WALG_FILE_PREFIX or WALG_S3_PREFIX");
  }
  if (!directory.empty()) return read_directory(directory, settings);
  if (url.empty()) {
    return fail(ErrorKind::refused, "nothing says where the archive is",
                "set WALG_FILE_PREFIX to a directory or WALG_S3_PREFIX to s3://bucket/prefix");
  }
  if (!store::parse_s3_url(url, settings.s3)) {
    return fail(ErrorKind::refused, fmt::format("\"{}\" is no s3://bucket/prefix", url));
  }
  read_s3(variables, settings.s3);
  return {};
}

}  // namespace

Variables variables_of(const std::vector<std::string>& environment) {
  Variables variables;
  for (const auto& entry : environment) {
    const auto equals = entry.find('=');
    if (equals == std::string::npos || equals + 1 == entry.size()) continue;
    variables[entry.substr(0, equals)] = entry.substr(equals + 1);
  }
  return variables;
}

Result<void> add_envdir(const std::string& directory, Variables& variables) {
  std::error_code error;
  std::filesystem::directory_iterator it(directory, error), end;
  for (; !error && it != end; it.increment(error)) {
    const auto name = it->path().filename().string();
    if (name.starts_with('.') || !it->is_regular_file()) continue;
    auto content = pg::read_file(it->path().string());
    if (!content) return tl::unexpected(content.error());
    const auto value = first_line_of(*content);
    if (value.empty()) {
      variables.erase(name);
    } else {
      variables[name] = value;
    }
  }
  if (!error) return {};
  return fail(ErrorKind::refused, fmt::format("cannot read {}: {}", directory, error.message()),
              "it is a directory with one file per variable, as envdir has it");
}

Result<Settings> read_settings(const Variables& variables) {
  Settings settings;
  auto placed = read_place(variables, settings);
  if (!placed) return tl::unexpected(placed.error());
  const auto name = value_of(variables, "WALG_COMPRESSION_METHOD");
  if (name.empty()) return settings;
  const auto method = method_by_name(name);
  if (!method) {
    return fail(ErrorKind::refused, fmt::format("WALG_COMPRESSION_METHOD is \"{}\"", name),
                "set it to lz4, zstd or none; other methods are read, not written");
  }
  settings.method = *method;
  return settings;
}

Result<std::unique_ptr<store::ObjectStore>> open_store(const Settings& settings) {
  if (settings.directory.empty()) return store::open_s3(settings.s3);
  return store::open_directory(settings.directory);
}

}  // namespace pgsteady::archive
