// Users, passwords and certificates, against a real etcd.
#include "dcs/etcd_fixture.h"
#include "dcs/renewer.h"

namespace pgsteady::dcs::testing {
namespace {

// etcd with authentication: root, and `app` that may use /service/demo/ only.
class GuardedEtcd : public OneEtcd {
 public:
  GuardedEtcd() {
    ctl({"user", "add", "root:root-password"});
    ctl({"user", "grant-role", "root", "root"});
    ctl({"role", "add", "app"});
    ctl({"role", "grant-permission", "app", "--prefix=true", "readwrite", "/service/demo/"});
    ctl({"user", "add", "app:app-password"});
    ctl({"user", "grant-role", "app", "app"});
    ctl({"auth", "enable"});
    ctl_options = {"--user=root:root-password"};
  }
  Options options(std::string user, std::string password) const {
    Options result;
    result.endpoints = {address()};
    result.prefix = "/service/demo/";
    result.username = std::move(user);
    result.password = std::move(password);
    return result;
  }
};

TEST(Security, RightPasswordOpensEverythingBelowThePrefix) {
  GuardedEtcd etcd;
  Client client(etcd.options("app", "app-password"));
  int changes = 0;
  client.dcs->watch([&] { ++changes; });
  auto lease = client.grant(5s);
  ASSERT_TRUE(lease) << lease.error().text();
  auto put = client.put("leader", "pg1", lease->id);
  ASSERT_TRUE(put) << put.error().text();
  EXPECT_TRUE(client.key("leader"));
  EXPECT_TRUE(client.remaining(lease->id));
  ASSERT_TRUE(client.loop.run_until([&] { return changes > 0; }));
  client.loop.run_for(300ms);
  int before = changes;
  etcd.ctl({"put", "/service/demo/leader", "pg2"});
  EXPECT_TRUE(client.loop.run_until([&] { return changes > before; }));
}

TEST(Security, WrongPasswordIsRefusedAndNotRepeatedInTheMessage) {
  GuardedEtcd etcd;
  for (auto [user, password] : {std::pair{"app", "Not-The-Password"}, {"nobody", "Some-Secret"}}) {
    Client client(etcd.options(user, password));
    auto snapshot = client.read();
    ASSERT_FALSE(snapshot);
    EXPECT_EQ(snapshot.error().kind, ErrorKind::refused);
    EXPECT_EQ(snapshot.error().text().find(password), std::string::npos);
    auto put = client.put("leader", "pg1");
    ASSERT_FALSE(put);
    EXPECT_EQ(put.error().kind, ErrorKind::refused) << put.error().text();
  }
}

TEST(Security, NoUserOrAForeignPrefixIsRefused) {
  GuardedEtcd etcd;
  Client nameless({etcd.address()});
  auto snapshot = nameless.read();
  ASSERT_FALSE(snapshot);
  EXPECT_EQ(snapshot.error().kind, ErrorKind::refused) << snapshot.error().text();

  auto options = etcd.options("app", "app-password");
  options.prefix = "/service/other/";
  Client foreign(options);
  snapshot = foreign.read();
  ASSERT_FALSE(snapshot);
  EXPECT_EQ(snapshot.error().kind, ErrorKind::refused) << snapshot.error().text();
}

TEST(Security, TokenThatEtcdHasForgottenIsReplaced) {
  GuardedEtcd etcd;
  Client client(etcd.options("app", "app-password"));
  ASSERT_TRUE(client.put("leader", "pg1"));
  Client without_watch(etcd.options("app", "app-password"));
  ASSERT_TRUE(without_watch.read());
  int changes = 0;
  client.dcs->watch([&] { ++changes; });
  etcd.kill_now();  // simple tokens live in its memory
  etcd.spawn();
  etcd.wait_ready();
  auto put = client.put("leader", "pg2");
  EXPECT_TRUE(put) << put.error().text();
  EXPECT_TRUE(client.key("leader"));
  auto snapshot = without_watch.read();
  EXPECT_TRUE(snapshot) << snapshot.error().text();
  client.loop.run_for(1500ms);
  int before = changes;
  etcd.ctl({"put", "/service/demo/leader", "pg3"});
  EXPECT_TRUE(client.loop.run_until([&] { return changes > before; }));
}

TEST(Security, UserIsPassedOverWhileAuthenticationIsOff) {
  OneEtcd etcd;
  Options options;
  options.endpoints = {etcd.address()};
  options.prefix = "/service/demo/";
  options.username = "app";
  options.password = "app-password";
  Client client(options);
  auto put = client.put("leader", "pg1");
  EXPECT_TRUE(put) << put.error().text();
}

TEST(Security, RenewerAuthenticatesForItselfAlsoAfterARestart) {
  GuardedEtcd etcd;
  Client client(etcd.options("app", "app-password"));
  std::atomic<int> extends = 0;
  RenewerHooks hooks;
  hooks.extend = [&](const lease::Epoch&, lease::Instant, lease::Duration) { ++extends; };
  auto renewer =
      make_renewer(etcd.options("app", "app-password"), "pg1", hooks, client.loop.post());
  auto grant = client.grant(20s);
  ASSERT_TRUE(grant) << grant.error().text();
  auto put = client.put("leader", "pg1", grant->id);
  ASSERT_TRUE(put) << put.error().text();
  renewer->adopt(grant->id, grant->ttl, lease::Instant(grant->sent_at));
  renewer->hold({grant->id, put->revision});
  ASSERT_TRUE(client.loop.run_until([&] { return extends >= 2; }));
  etcd.kill_now();
  etcd.spawn();
  etcd.wait_ready();
  int before = extends;
  EXPECT_TRUE(client.loop.run_until([&] { return extends >= before + 3; }));
}

// A CA and certificates made with it, in a directory of their own.
class Certificates {
 public:
  Certificates() {
    openssl({"req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-keyout", file("ca.key"), "-out", file("ca.pem"), "-days", "2", "-subj", "/CN=ca"});
    issue("server");
    issue("client");
  }
  std::string file(const std::string& name) const { return dir_.path + "/" + name; }

 private:
  void issue(const std::string& name) {
    openssl({"req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-keyout", file(name + ".key"), "-out", file(name + ".csr"), "-subj", "/CN=" + name,
             "-addext", "subjectAltName=IP:127.0.0.1"});
    openssl({"x509", "-req", "-in", file(name + ".csr"), "-CA", file("ca.pem"), "-CAkey",
             file("ca.key"), "-CAcreateserial", "-days", "2", "-copy_extensions", "copy", "-out",
             file(name + ".pem")});
  }
  static void openssl(std::vector<std::string> words) {
    words.insert(words.begin(), "openssl");
    auto result = run_process(words, {}, 20s);
    ASSERT_TRUE(result && result->exit_code == 0) << (result ? result->output : "timeout");
  }
  TempDir dir_;
};

class TlsEtcd : public OneEtcd {
 public:
  explicit TlsEtcd(const Certificates& made)
      : OneEtcd({"--cert-file=" + made.file("server.pem"), "--key-file=" + made.file("server.key"),
                 "--client-cert-auth", "--trusted-ca-file=" + made.file("ca.pem")},
                {"--cacert=" + made.file("ca.pem"), "--cert=" + made.file("client.pem"),
                 "--key=" + made.file("client.key")}) {}
  Options options(const Certificates& made) const {
    return {{address()},
            "/service/demo/",
            true,
            made.file("ca.pem"),
            made.file("client.pem"),
            made.file("client.key"),
            {},
            {}};
  }
};

TEST(Security, TlsWithAClientCertificate) {
  Certificates made;
  TlsEtcd etcd(made);
  Client client(etcd.options(made));
  auto put = client.put("leader", "pg1");
  ASSERT_TRUE(put) << put.error().text();
  EXPECT_TRUE(client.key("leader"));
}

TEST(Security, ForeignCaIsRefused) {
  Certificates made, foreign;
  TlsEtcd etcd(made);
  auto options = etcd.options(made);
  options.ca_file = foreign.file("ca.pem");
  Client client(options);
  auto snapshot = client.read();
  ASSERT_FALSE(snapshot);
  EXPECT_EQ(snapshot.error().kind, ErrorKind::refused) << snapshot.error().text();
  EXPECT_FALSE(client.commit({{}, {Operation::put("leader", "pg1")}}, 500ms));
}

TEST(Security, MissingClientCertificateIsAnError) {
  Certificates made;
  TlsEtcd etcd(made);
  auto options = etcd.options(made);
  options.cert_file.clear();
  options.key_file.clear();
  Client client(options);
  auto snapshot = client.read(1s);
  EXPECT_FALSE(snapshot);
}

TEST(Security, UnreadableFileIsNamed) {
  Options options;
  options.endpoints = {"127.0.0.1:1"};
  options.prefix = "/service/demo/";
  options.tls = true;
  options.ca_file = "/nonexistent/ca.pem";
  Client client(options);
  auto snapshot = client.read();
  ASSERT_FALSE(snapshot);
  EXPECT_EQ(snapshot.error().kind, ErrorKind::refused);
  EXPECT_NE(snapshot.error().message.find("/nonexistent/ca.pem"), std::string::npos);
}

}  // namespace
}  // namespace pgsteady::dcs::testing
