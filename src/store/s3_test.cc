#include "store/s3.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/fake_s3.h"

namespace pgsteady::store {
namespace {

using namespace std::chrono_literals;
using testing::FakeS3;
using ::testing::HasSubstr;

std::unique_ptr<ObjectStore> open(const FakeS3& server, std::chrono::milliseconds patience = 30s,
                                  std::chrono::milliseconds step_limit = 500ms) {
  S3Options options;
  options.bucket = "bucket";
  options.prefix = "pre fix";
  options.endpoint = server.endpoint();
  options.path_style = true;
  options.credentials = {"key", "secret", ""};
  options.step_limit = step_limit;
  options.patience = patience;
  auto store = open_s3(options);
  EXPECT_TRUE(store) << store.error().text();
  return std::move(*store);
}

std::string noise(std::size_t size) {
  std::minstd_rand random(3);
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>(random() >> 8);
  return text;
}

TEST(S3, KeepsWhatItIsGiven) {
  FakeS3 server(1, 0);
  auto store = open(server);
  auto stored = put_text(*store, "a/one", "content", Put::if_absent);
  ASSERT_TRUE(stored) << stored.error().text();
  EXPECT_EQ(*stored, Stored::created);
  EXPECT_EQ(server.objects().at("pre fix/a/one"), "content");
  EXPECT_EQ(*put_text(*store, "a/one", "other", Put::if_absent), Stored::existed);
  EXPECT_EQ(*get_text(*store, "a/one", 100), "content");
  EXPECT_EQ(*put_text(*store, "a/one", "", Put::replace), Stored::created);
  EXPECT_EQ(*get_text(*store, "a/one", 100), "");
  EXPECT_EQ(store->open("a/two").error().kind, ErrorKind::not_found);
  EXPECT_EQ(store->head("a").error().kind, ErrorKind::not_found);
  EXPECT_EQ(store->head("a/one")->size_bytes, 0u);
  EXPECT_TRUE(store->remove("a/one"));
  EXPECT_TRUE(store->remove("a/one"));
  EXPECT_TRUE(server.objects().empty());
}

TEST(S3, StoresWithoutConditionsAreAskedFirst) {
  FakeS3 server(1, 0);
  server.knows_conditions = false;
  auto store = open(server);
  EXPECT_EQ(*put_text(*store, "x", "1", Put::if_absent), Stored::created);
  EXPECT_EQ(*put_text(*store, "x", "2", Put::if_absent), Stored::existed);
  EXPECT_EQ(*get_text(*store, "x", 10), "1");
}

TEST(S3, ListsPageByPageAndFinds) {
  FakeS3 server(1, 0);
  auto store = open(server);
  for (int i = 0; i < 8; ++i) put_text(*store, fmt::format("w/0{}.lz4", i), "x", Put::replace);
  put_text(*store, "w/03.partial.lz4", "x", Put::replace);
  put_text(*store, "w/03", "x", Put::replace);
  std::vector<std::string> keys;
  auto collect = [&](const ObjectInfo& info) {
    keys.push_back(info.key);
    return true;
  };
  ASSERT_TRUE(store->list("w/0", collect));
  EXPECT_EQ(keys.size(), 10u);
  auto found = store->find("w/03", {".zst", ".lz4", ""});
  ASSERT_EQ(found->size(), 2u);
  EXPECT_EQ((*found)[0].key, "w/03.lz4");
  EXPECT_EQ(iso_time((*found)[0].modified), "2026-11-22T14:03:00.000000+00:00");
  keys.clear();
  ASSERT_TRUE(store->list("nothing", collect));
  EXPECT_TRUE(keys.empty());
}

TEST(S3, ReadsRanges) {
  FakeS3 server(1, 0);
  auto store = open(server);
  put_text(*store, "x", "0123456789", Put::replace);
  char buffer[64];
  EXPECT_EQ(*(*store->open("x", {3, 4}))->read(buffer), 4u);
  EXPECT_EQ(std::string(buffer, 4), "3456");
  EXPECT_EQ(*(*store->open("x", {8, 100}))->read(buffer), 2u);
  EXPECT_EQ(*(*store->open("x", {20, 1}))->read(buffer), 0u);
}

TEST(S3, LargeObjectsGoInParts) {
  FakeS3 server(1, 0);
  auto store = open(server, 120s, 20s);  // under a sanitizer a part takes its time
  const auto content = noise((40 << 20) + 17);
  EXPECT_EQ(*put_text(*store, "large", content, Put::if_absent), Stored::created);
  EXPECT_TRUE(server.objects().at("pre fix/large") == content);
  auto read = get_text(*store, "large", 64 << 20);
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_TRUE(*read == content);
  EXPECT_EQ(*put_text(*store, "large", content + "x", Put::if_absent), Stored::existed);
  EXPECT_EQ(server.uploads(), 0u);
  auto given_up = store->create("half", Put::replace);
  ASSERT_TRUE((*given_up)->write(content));
  given_up->reset();
  EXPECT_EQ(server.uploads(), 0u);
  EXPECT_FALSE(server.objects().contains("pre fix/half"));
}

// Whatever goes wrong on the way: what was acknowledged is there, and reads as it was written.
TEST(S3, FaultsOfEverySeedLoseAndMixUpNothing) {
  for (unsigned seed = 1; seed <= 4; ++seed) {
    FakeS3 server(seed, 25);
    auto store = open(server);
    for (int i = 0; i < 12; ++i) {
      const auto key = fmt::format("k{}", i);
      const auto content = noise(static_cast<std::size_t>(i) * 30001);
      auto stored = put_text(*store, key, content, Put::if_absent);
      ASSERT_TRUE(stored) << "seed " << seed << ": " << stored.error().text();
      auto read = get_text(*store, key, 1 << 20);
      ASSERT_TRUE(read) << "seed " << seed << ": " << read.error().text();
      EXPECT_TRUE(*read == content) << "seed " << seed;
    }
    std::vector<std::string> keys;
    auto listed = store->list("", [&](const ObjectInfo& info) {
      keys.push_back(info.key);
      return true;
    });
    ASSERT_TRUE(listed) << listed.error().text();
    EXPECT_EQ(keys.size(), 12u);
    EXPECT_GT(server.mishaps, 2);
  }
}

TEST(S3, LargeObjectsSurviveFaultsToo) {
  FakeS3 server(11, 20);
  auto store = open(server, 120s, 5s);
  const auto content = noise(36 << 20);
  auto stored = put_text(*store, "large", content, Put::replace);
  ASSERT_TRUE(stored) << stored.error().text();
  auto read = get_text(*store, "large", 64 << 20);
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_TRUE(*read == content);
}

TEST(S3, GivesUpWhenItsPatienceEndsAndSaysWhy) {
  FakeS3 server(1, 100);
  auto store = open(server, 700ms);
  const auto begin = std::chrono::steady_clock::now();
  auto read = store->open("x");
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().kind, ErrorKind::retry);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 10s);
  struct Case {
    int status;
    const char *code, *hint;
    ErrorKind kind;
  };
  server.set_percent(0);
  for (const auto& [status, code, hint, kind] :
       {Case{403, "RequestTimeTooSkewed", "clock", ErrorKind::refused},
        {403, "SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY", ErrorKind::refused},
        {400, "ExpiredToken", "AWS_SESSION_TOKEN", ErrorKind::refused},
        {404, "NoSuchBucket", "create the bucket", ErrorKind::refused},
        {404, "", "", ErrorKind::refused},  // somebody's web server, not the store
        {403, "", "credentials", ErrorKind::refused},
        {404, "NoSuchKey", "", ErrorKind::not_found}}) {
    server.set_answer(status, code);
    const int before = server.requests;
    auto failed = store->open("x");
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().kind, kind) << code;
    EXPECT_THAT(failed.error().hint, HasSubstr(hint));
    EXPECT_EQ(server.requests, before + 1) << "asked again after " << code;
  }
}

TEST(S3, UrlsAndOptions) {
  S3Options options;
  EXPECT_TRUE(parse_s3_url("s3://b/x/y/", options));
  EXPECT_EQ(options.bucket + " " + options.prefix, "b x/y");
  EXPECT_TRUE(parse_s3_url("s3://b", options));
  EXPECT_EQ(options.prefix, "");
  for (const char* bad : {"", "s3://", "http://b/x", "s3:///x"}) {
    EXPECT_FALSE(parse_s3_url(bad, options)) << bad;
  }
  parse_s3_url("s3://b", options);
  EXPECT_THAT(open_s3(options).error().hint, HasSubstr("AWS_ACCESS_KEY_ID"));
  options.credentials = {"a", "b", ""};
  EXPECT_TRUE(open_s3(options));
  options.endpoint = "host:80";
  EXPECT_FALSE(open_s3(options));
}

}  // namespace
}  // namespace pgsteady::store
