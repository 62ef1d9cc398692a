// The S3 store and an archive in it, against a real radosgw.
#include <random>

#include "archive/fixture.h"
#include "archive/radosgw.h"

namespace pgsteady::testing {
namespace {

namespace fs = std::filesystem;
using store::Put;
using store::Stored;
using ::testing::HasSubstr;

class RealS3 : public ArchiveTest {
 protected:
  RealS3() : gateway_(dir_.path()) {}

  std::unique_ptr<store::ObjectStore> open(const store::S3Options& options) {
    auto opened = open_s3(options);
    EXPECT_TRUE(opened) << opened.error().text();
    return std::move(*opened);
  }
  // The server archives into the bucket from now on.
  void archive_to_s3(bool tls) {
    environment_ = gateway_.environment("demo", tls);
    server_ = std::make_unique<PlainServer>(dir_.path() / "data", environment_);
    start_archiving();
  }

  Radosgw gateway_;
};

std::string noise(std::size_t size) {
  std::minstd_rand random(3);
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>(random() >> 8);
  return text;
}

TEST_F(RealS3, KeepsWhatItIsGiven) {
  for (bool tls : {false, true}) {
    auto options = gateway_.options(tls);
    options.prefix = tls ? "tls" : "a b/plain+~";
    auto store = open(options);
    auto stored = put_text(*store, "w/one.lz4", "content", Put::if_absent);
    ASSERT_TRUE(stored) << stored.error().text();
    EXPECT_EQ(*stored, Stored::created);
    EXPECT_EQ(*put_text(*store, "w/one.lz4", "other", Put::if_absent), Stored::existed);
    EXPECT_EQ(*get_text(*store, "w/one.lz4", 100), "content");
    EXPECT_EQ(*put_text(*store, "w/empty", "", Put::replace), Stored::created);
    EXPECT_EQ(*get_text(*store, "w/empty", 100), "");
    EXPECT_EQ(store->open("w/two").error().kind, ErrorKind::not_found);
    EXPECT_EQ(store->head("w/one.lz4")->size_bytes, 7u);
    auto found = store->find("w/one", {".zst", ".lz4"});
    ASSERT_TRUE(found) << found.error().text();
    EXPECT_EQ(found->size(), 1u);
    char buffer[64];
    EXPECT_EQ(*(*store->open("w/one.lz4", {2, 3}))->read(buffer), 3u);
    EXPECT_EQ(std::string(buffer, 3), "nte");
    const auto large = noise(40 << 20);
    auto put = put_text(*store, "large", large, Put::if_absent);
    ASSERT_TRUE(put) << put.error().text();
    auto read = get_text(*store, "large", 64 << 20);
    ASSERT_TRUE(read) << read.error().text();
    EXPECT_TRUE(*read == large);
    EXPECT_TRUE(store->remove("w/one.lz4"));
    EXPECT_TRUE(store->remove("w/one.lz4"));
    EXPECT_EQ(store->head("w/one.lz4").error().kind, ErrorKind::not_found);
  }
}

TEST_F(RealS3, ListsMoreThanAPage) {
  auto store = open(gateway_.options());
  for (int i = 0; i < 1100; ++i) {
    ASSERT_TRUE(put_text(*store, "many/" + std::to_string(i), "x", Put::replace));
  }
  int count = 0;
  ASSERT_TRUE(store->list("many/", [&](const store::ObjectInfo&) { return ++count > 0; }));
  EXPECT_EQ(count, 1100);
}

TEST_F(RealS3, SaysWhatIsWrong) {
  auto refused = [&](const store::S3Options& options, const char* hint) {
    for (const auto& error : {open(options)->open("x").error(), open(options)->head("x").error(),
                              put_text(*open(options), "x", "x", Put::replace).error()}) {
      EXPECT_EQ(error.kind, ErrorKind::refused) << error.text();
      EXPECT_THAT(error.hint, HasSubstr(hint)) << error.text();
    }
  };
  auto options = gateway_.options();
  options.credentials.secret_key = "wrong";
  refused(options, "AWS_SECRET_ACCESS_KEY");
  options = gateway_.options();
  options.credentials.access_key = "nobody";
  refused(options, "AWS_ACCESS_KEY_ID");
  options = gateway_.options();
  options.bucket = "nosuchbucket";
  refused(options, "bucket");
  options = gateway_.options(true);
  options.ca_file = "";  // the system knows no such CA
  refused(options, "CA");
}

TEST_F(RealS3, BackupsRestoreToAPointInTime) {
  archive_to_s3(true);
  server_->sql("create table t (n int)");
  server_->sql("insert into t values (1)");
  auto pushed = backup();
  ASSERT_EQ(pushed.exit_code, 0) << pushed.text << server_->log();
  server_->sql("insert into t values (2)");
  const auto target = server_->sql("select clock_timestamp()");
  server_->sql("insert into t values (3)");
  archive_all();
  EXPECT_THAT(pgsteady({"backup-list"}).text, HasSubstr("| base_0000000100000000"));
  const auto to = dir_.path() / "restored";
  auto restored = pgsteady({"restore", "--to", to, "--target-time", target});
  ASSERT_EQ(restored.exit_code, 0) << restored.text;
  PlainServer server(to, environment_);
  server.append("archive_mode = off");
  server.start();
  ASSERT_TRUE(server.wait_primary()) << server.log();
  EXPECT_EQ(server.sql("select string_agg(n::text, ',' order by n) from t"), "1,2");
}

TEST_F(RealS3, AStoreThatIsKilledOrHangsKeepsTheWalWaiting) {
  archive_to_s3(false);
  server_->sql("create table t (n int)");
  archive_all();
  gateway_.kill_gateway();
  server_->sql("insert into t values (1)");
  const auto last = server_->sql("select pg_walfile_name(pg_switch_wal())");
  const auto ready = server_->data() / "pg_wal/archive_status" / (last + ".ready");
  EXPECT_TRUE(eventually(Millis(10000), [&] { return fs::exists(ready); }));
  gateway_.start_gateway();
  archive_all();
  EXPECT_FALSE(fs::exists(ready));
  // A push that hangs ends by itself, and with an error.
  gateway_.freeze();
  auto options = gateway_.options();
  options.step_limit = Millis(300);
  options.patience = Millis(1500);
  const auto begin = Clock::now();
  auto stored = put_text(*open(options), "frozen", "x", Put::if_absent);
  EXPECT_FALSE(stored);
  EXPECT_LT(Clock::now() - begin, Millis(20000));
  gateway_.thaw();
  EXPECT_TRUE(put_text(*open(gateway_.options()), "frozen", "x", Put::if_absent));
}

}  // namespace
}  // namespace pgsteady::testing
