#include "api/operations.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pgsteady::api {
namespace {

using namespace std::chrono_literals;
using Kind = core::Request::Kind;
using testing::HasSubstr;

http::Request request(std::string method, std::string path, std::string body = "") {
  http::Request r;
  r.method = std::move(method);
  r.path = std::move(path);
  r.headers["content-length"] = std::to_string(body.size());
  r.body = std::move(body);
  return r;
}

http::Response refusal(const http::Request& r, const Credentials& required = {"", ""}) {
  auto parsed = parse_operation(r, required);
  return parsed ? http::Response{} : parsed.error();
}

TEST(Operations, ASwitchoverIsReadFieldByField) {
  auto parsed = parse_operation(
      request("POST", "/switchover",
              R"({"leader":"a","member":"b","scheduled_at":"2100-01-01T00:00Z","force":true})"),
      {"", ""});
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->kind, Kind::switchover);
  EXPECT_EQ(parsed->leader, "a");
  EXPECT_EQ(parsed->candidate, "b");
  EXPECT_EQ(parsed->scheduled_at, "2100-01-01T00:00Z");
  EXPECT_TRUE(parsed->force);
  EXPECT_EQ(parse_operation(request("DELETE", "/switchover/"), {"", ""})->kind,
            Kind::cancel_switchover);
}

TEST(Operations, ARestartsConditionsAreChecked) {
  auto parsed = parse_operation(request("POST", "/restart",
                                        R"({"role":"replica","postgres_version":"15.3",
                                            "timeout":"5min","restart_pending":true})"),
                                {"", ""});
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->postgres_version, 150003);
  EXPECT_EQ(parsed->timeout, lease::Duration(300s));
  EXPECT_TRUE(parsed->restart_pending);
  EXPECT_TRUE(parse_operation(request("POST", "/restart"), {"", ""})) << "the body is optional";
  for (const char* bad : {R"({"role":"king"})", R"({"postgres_version":"soon"})",
                          R"({"timeout":0})", R"({"timeout":"-5"})", R"({"color":"red"})"}) {
    EXPECT_EQ(refusal(request("POST", "/restart", bad)).status, 400) << bad;
  }
}

TEST(Operations, WhatCannotBeReadIsRefused) {
  EXPECT_EQ(refusal(request("POST", "/switchover", "{")).status, 400);
  EXPECT_EQ(refusal(request("POST", "/switchover", "[]")).status, 400);
  EXPECT_EQ(refusal(request("POST", "/switchover", "{}")).status, 400);
  EXPECT_THAT(refusal(request("POST", "/switchover", R"({"leader":1})")).body, HasSubstr("leader"));
  auto without_length = request("POST", "/switchover", "{}");
  without_length.headers.clear();
  EXPECT_EQ(refusal(without_length).status, 411);
  EXPECT_EQ(refusal(request("POST", "/nonsense", "{}")).status, 501);
  EXPECT_EQ(refusal(request("BREW", "/switchover", "{}")).status, 501);
}

TEST(Operations, NeedTheNameAndThePassword) {
  const Credentials required{"admin", "secret"};
  auto r = request("DELETE", "/switchover");
  auto refused = refusal(r, required);
  EXPECT_EQ(refused.status, 401);
  ASSERT_FALSE(refused.headers.empty());
  EXPECT_EQ(refused.headers[0].first, "WWW-Authenticate");
  r.headers["authorization"] = http::basic_authorization("admin", "wrong");
  EXPECT_EQ(refusal(r, required).status, 401);
  r.headers["authorization"] = "Basic YWRtaW46c2VjcmV0";
  EXPECT_TRUE(parse_operation(r, required));
}

}  // namespace
}  // namespace pgsteady::api
