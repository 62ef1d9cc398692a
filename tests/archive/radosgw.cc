#include "archive/radosgw.h"

#include <fmt/format.h>

#include <csignal>
#include <fstream>
#include <stdexcept>

#include "archive/server.h"
#include "harness/http.h"
#include "store/s3_client.h"

namespace pgsteady::testing {
namespace fs = std::filesystem;
namespace {

constexpr const char* kKey = "testkey";
constexpr const char* kSecret = "test/secret+with=signs";

std::string uuid() {
  std::ifstream in("/proc/sys/kernel/random/uuid");
  std::string text;
  in >> text;
  return text;
}

}  // namespace

Radosgw::Radosgw(const fs::path& dir)
    : dir_(dir / "ceph"),
      mon_port_(free_port()),
      port_(free_port()),
      tls_port_(free_port()),
      cluster_(uuid()),
      environment_({"CEPH_CONF=" + (dir_ / "ceph.conf").string()}) {
  run({"mkdir", "-p", dir_ / "mon", dir_ / "osd"});
  configure();
  run({"openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
       "/CN=radosgw", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", dir_ / "key.pem", "-out",
       dir_ / "cert.pem"});
  const auto address = fmt::format("v1:127.0.0.1:{}", mon_port_), osd = uuid();
  run({"monmaptool", "--create", "--fsid", cluster_, "--addv", "a", "[" + address + "]",
       dir_ / "monmap"});
  run({"ceph-mon", "--mkfs", "-i", "a", "--monmap", dir_ / "monmap", "--keyring",
       dir_ / "keyring"});
  mon_ = serve({"ceph-mon", "-f", "-i", "a", "--public-addr", address});
  ask_monitor({"ceph", "osd", "new", osd, "0"});
  ask_monitor({"ceph", "osd", "crush", "add", "osd.0", "1", "root=default", "host=local"});
  run({"ceph-osd", "--mkfs", "-i", "0", "--osd-uuid", osd});
  osd_ = serve({"ceph-osd", "-f", "-i", "0"});
  run({"radosgw-admin", "user", "create", "--uid=test", "--display-name=test",
       std::string("--access-key=") + kKey, std::string("--secret-key=") + kSecret});
  start_gateway();
  make_bucket();
}

void Radosgw::configure() {
  write_private(dir_ / "keyring", "");
  write_private(dir_ / "ceph.conf",
                fmt::format(R"([global]
fsid = {cluster}
mon host = v1:127.0.0.1:{mon}
auth cluster required = none
auth service required = none
auth client required = none
keyring = {dir}/keyring
run dir = {dir}
admin socket =
pid file =
log file = {dir}/$name.log
mon data = {dir}/mon
osd data = {dir}/osd
osd objectstore = memstore
memstore device bytes = 2147483648
osd class update on start = false
osd crush update on start = false
osd pool default size = 1
osd pool default min size = 1
osd crush chooseleaf type = 0
osd pool default pg num = 1
osd pool default pg autoscale mode = off
mon allow pool size one = true
paxos propose interval = 0.05
paxos min wait = 0.01
ms bind msgr2 = false
public addr = 127.0.0.1
rgw frontends = beast endpoint=127.0.0.1:{port} ssl_endpoint=127.0.0.1:{tls} ssl_certificate={dir}/cert.pem ssl_private_key={dir}/key.pem
)",
                            fmt::arg("cluster", cluster_), fmt::arg("mon", mon_port_),
                            fmt::arg("dir", dir_.string()), fmt::arg("port", port_),
                            fmt::arg("tls", tls_port_)));
}

void Radosgw::run(const std::vector<std::string>& argv) {
  auto output = run_command(argv, environment_, Millis(60000));
  if (output.exit_code != 0) throw std::runtime_error(argv.front() + ": " + output.text);
}

// A monitor that has just started refuses now and then, with "permission denied".
void Radosgw::ask_monitor(const std::vector<std::string>& argv) {
  auto done = [&] { return run_command(argv, environment_, Millis(20000)).exit_code == 0; };
  if (!eventually(Millis(30000), done, Millis(200))) run(argv);
}

std::unique_ptr<Process> Radosgw::serve(const std::vector<std::string>& argv) {
  return std::make_unique<Process>(argv, dir_ / (argv.front() + ".out"), environment_);
}

void Radosgw::start_gateway() {
  gateway_ = serve({"radosgw", "-f", "-n", "client.rgw"});
  const bool up = eventually(Millis(60000), [&] { return http_get(port_, "/").has_value(); });
  if (!up) throw std::runtime_error("radosgw does not answer: " + tail(dir_ / "radosgw.out", 20));
}

void Radosgw::make_bucket() {
  http::Origin origin;
  origin.host = "127.0.0.1";
  origin.port = static_cast<std::uint16_t>(port_);
  store::S3Client client(options(), origin);
  auto made = client.ask({"PUT", "", {}, {}, {}, {}});
  if (!made) throw std::runtime_error("no bucket: " + made.error().text());
}

std::string Radosgw::endpoint(bool tls) const {
  return tls ? fmt::format("https://127.0.0.1:{}", tls_port_)
             : fmt::format("http://127.0.0.1:{}", port_);
}

store::S3Options Radosgw::options(bool tls) const {
  store::S3Options options;
  options.bucket = "test";
  options.prefix = "some/prefix";
  options.endpoint = endpoint(tls);
  options.path_style = true;
  options.credentials = {kKey, kSecret, ""};
  if (tls) options.ca_file = ca_file();
  options.step_limit = Millis(5000);
  options.patience = Millis(20000);
  return options;
}

std::vector<std::string> Radosgw::environment(const std::string& prefix, bool tls) const {
  std::vector<std::string> variables = {
      "WALG_S3_PREFIX=s3://test/" + prefix, "AWS_ENDPOINT=" + endpoint(tls),
      "AWS_S3_FORCE_PATH_STYLE=true", std::string("AWS_ACCESS_KEY_ID=") + kKey,
      std::string("AWS_SECRET_ACCESS_KEY=") + kSecret};
  if (tls) variables.push_back("WALG_S3_CA_CERT_FILE=" + ca_file());
  return variables;
}

}  // namespace pgsteady::testing
