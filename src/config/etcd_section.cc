#include "config/etcd_section.h"

#include <fmt/format.h>

#include "config/known_keys.h"

namespace pgsteady::config {
namespace {

// host, hosts, url: what the environment sets hides all of what the file says.
std::vector<std::string> etcd_addresses(Section& section) {
  bool outside =
      section.overridden("host") || section.overridden("hosts") || section.overridden("url");
  std::vector<std::string> found;
  for (const char* key : {"hosts", "host", "url"}) {
    bool counts = !outside || section.overridden(key);
    auto values = counts ? section.texts(key) : std::vector<std::string>{};
    section.mark_read(key);
    if (found.empty()) found = std::move(values);
  }
  return found;
}

void add_endpoint(Section& section, std::string address, Etcd& etcd) {
  if (auto scheme = address.find("://"); scheme != std::string::npos) {
    auto name = address.substr(0, scheme);
    if (name != "http" && name != "https") {
      section.error("url", fmt::format("protocol '{}', expected http or https", name));
    }
    etcd.tls = etcd.tls || name == "https";
    address.erase(0, scheme + 3);
    while (address.ends_with('/')) address.pop_back();
  }
  auto parsed = parse_host_port(address, 2379);
  if (!parsed) {
    section.error("hosts", fmt::format("'{}' is no address, expected host:port", address));
    return;
  }
  bool v6 = parsed->host.find(':') != std::string::npos;
  etcd.endpoints.push_back(
      fmt::format("{}{}{}:{}", v6 ? "[" : "", parsed->host, v6 ? "]" : "", parsed->port));
}

}  // namespace

void read_etcd(Section section, Etcd& etcd) {
  auto protocol = section.text_or("protocol", "http");
  if (protocol != "http" && protocol != "https") {
    section.error("protocol", fmt::format("'{}', expected http or https", protocol));
  }
  etcd.tls = protocol == "https";
  for (auto& address : etcd_addresses(section)) add_endpoint(section, std::move(address), etcd);
  etcd.ca_file = section.text_or("cacert", "");
  etcd.cert_file = section.text_or("cert", "");
  etcd.key_file = section.text_or("key", "");
  etcd.username = section.credential_or("username", "");
  etcd.password = section.credential_or("password", "");
  if (!etcd.cert_file.empty() != !etcd.key_file.empty()) {
    section.error("cert", "cert and key belong together, one of them is missing");
  }
  section.check_unread(known_in_etcd());
}

Section etcd_section(Section& top, const Overrides& overrides, Findings& findings) {
  if (top.has("etcd") && !top.has("etcd3")) {
    top.warning("etcd", "read as etcd3: pgsteady speaks etcd's v3 protocol only");
    top.mark_read("etcd3");
    return Section(top.node("etcd"), "etcd3", overrides, findings);
  }
  if (top.has("etcd")) top.warning("etcd", "passed over, etcd3 is given too");
  top.mark_read("etcd");
  return top.section("etcd3");
}

std::string read_namespace(Section& top) {
  auto value = top.text_or("namespace", "service");
  while (value.starts_with('/')) value.erase(0, 1);
  while (value.ends_with('/')) value.pop_back();
  return value.empty() ? "" : "/" + value;
}

Result<Etcd> etcd_of_url(const std::string& url) {
  Overrides overrides;
  Findings findings;
  findings.file = "--dcs-url";
  auto address = url;
  for (std::string scheme : {"etcd3://", "etcd://"}) {
    if (address.starts_with(scheme)) address.erase(0, scheme.size());
  }
  overrides["etcd3.hosts"] = {address, findings.file};
  Etcd etcd;
  read_etcd(Section(YAML::Node(), "etcd3", overrides, findings), etcd);
  if (!findings.errors.empty()) return fail(ErrorKind::refused, findings.errors.front());
  if (etcd.endpoints.empty()) return fail(ErrorKind::refused, "--dcs-url: expected host:port");
  return etcd;
}

}  // namespace pgsteady::config
