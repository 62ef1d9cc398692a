// Ceph's radosgw over an in-memory store: a real, strict S3 on loopback, with a bucket "test".
#pragma once

#include <csignal>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "harness/process.h"
#include "store/s3.h"

namespace pgsteady::testing {

class Radosgw {
 public:
  // Starts it below `dir`; throws when it does not come up.
  explicit Radosgw(const std::filesystem::path& dir);

  std::string endpoint(bool tls = false) const;
  std::string ca_file() const { return dir_ / "cert.pem"; }
  store::S3Options options(bool tls = false) const;
  // The same as WAL-G's variables, with this prefix.
  std::vector<std::string> environment(const std::string& prefix, bool tls = false) const;

  void kill_gateway() { gateway_.reset(); }
  void start_gateway();
  // The store behind it hangs.
  void freeze() { osd_->signal(SIGSTOP); }
  void thaw() { osd_->signal(SIGCONT); }

 private:
  void configure();
  void run(const std::vector<std::string>& argv);
  void ask_monitor(const std::vector<std::string>& argv);
  std::unique_ptr<Process> serve(const std::vector<std::string>& argv);
  void make_bucket();

  std::filesystem::path dir_;
  int mon_port_, port_, tls_port_;
  std::string cluster_;
  std::vector<std::string> environment_;
  std::unique_ptr<Process> mon_, osd_, gateway_;
};

}  // namespace pgsteady::testing
