// The vectors that AWS publishes: "Examples: Signature Calculations" of the S3 API reference, and
// get-vanilla of the Signature Version 4 test suite.
#include "store/sigv4.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pgsteady::store {
namespace {

using ::testing::EndsWith;

const Credentials kExample{"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ""};
const Scope kScope{"20130524T000000Z", "us-east-1"};

SignedRequest request(const std::string& method, const std::string& path,
                      std::map<std::string, std::string> query, const std::string& body,
                      std::map<std::string, std::string> headers) {
  headers["host"] = "examplebucket.s3.amazonaws.com";
  headers["x-amz-date"] = kScope.time;
  headers["x-amz-content-sha256"] = sha256_hex(body);
  return {method, path, std::move(query), std::move(headers), sha256_hex(body)};
}

TEST(SigV4, GetObject) {
  EXPECT_EQ(authorization(request("GET", "/test.txt", {}, "", {{"range", "bytes=0-9"}}), kScope,
                          kExample),
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
            "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
            "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

TEST(SigV4, PutObject) {
  EXPECT_THAT(authorization(request("PUT", "/test$file.text", {}, "Welcome to Amazon S3.",
                                    {{"date", "Fri, 24 May 2013 00:00:00 GMT"},
                                     {"x-amz-storage-class", "REDUCED_REDUNDANCY"}}),
                            kScope, kExample),
              EndsWith("98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"));
}

TEST(SigV4, Queries) {
  EXPECT_THAT(authorization(request("GET", "/", {{"lifecycle", ""}}, "", {}), kScope, kExample),
              EndsWith("fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"));
  EXPECT_THAT(authorization(request("GET", "/", {{"max-keys", "2"}, {"prefix", "J"}}, "", {}),
                            kScope, kExample),
              EndsWith("34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"));
}

TEST(SigV4, TestSuiteVanilla) {
  const SignedRequest vanilla{
      "GET",
      "/",
      {},
      {{"host", "example.amazonaws.com"}, {"x-amz-date", "20150830T123600Z"}},
      sha256_hex("")};
  EXPECT_THAT(authorization(vanilla, {"20150830T123600Z", "us-east-1", "service"},
                            {"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", ""}),
              EndsWith("5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"));
}

TEST(SigV4, Encoding) {
  EXPECT_EQ(uri_encode("/a b/ü~+=", true), "/a%20b/%C3%BC~%2B%3D");
  EXPECT_EQ(uri_encode("a/b", false), "a%2Fb");
  EXPECT_EQ(md5_base64(""), "1B2M2Y8AsgTpgAmY7PhCfg==");
}

}  // namespace
}  // namespace pgsteady::store
