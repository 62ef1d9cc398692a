// What a Session makes of terms and clusters; no etcd is needed for it.
#include "dcs/session.h"

#include <gtest/gtest.h>

#include "dcs/watch.h"

namespace pgsteady::dcs {
namespace {

pb::ResponseHeader header(std::uint64_t cluster, std::uint64_t term) {
  pb::ResponseHeader result;
  result.set_cluster_id(cluster);
  result.set_raft_term(term);
  return result;
}

class SessionTest : public ::testing::Test {
 protected:
  SessionTest() : reactor("test"), session(reactor, options()) {}
  static Options options() {
    Options result;
    result.endpoints = {"127.0.0.1:1", "127.0.0.1:2", "[::1]:3"};
    return result;
  }
  Reactor reactor;
  Session session;
};

TEST_F(SessionTest, AnswerOfAnOldTermIsDiscarded) {
  EXPECT_TRUE(session.accept(0, header(7, 4)));
  EXPECT_TRUE(session.accept(1, header(7, 5)));
  EXPECT_FALSE(session.accept(0, header(7, 4)));
  EXPECT_EQ(session.current(), 1u) << "a member left behind is not moved to";
  EXPECT_TRUE(session.accept(0, header(7, 5)));
  EXPECT_EQ(session.current(), 0u);
}

TEST_F(SessionTest, AnotherClustersTermsStartAnew) {
  EXPECT_TRUE(session.accept(0, header(7, 40)));
  EXPECT_TRUE(session.accept(0, header(8, 2)));
  EXPECT_FALSE(session.accept(0, header(8, 1)));
}

TEST_F(SessionTest, MovesOnFromTheCurrentEndpointOnly) {
  session.failed(1);
  EXPECT_EQ(session.current(), 0u);
  session.failed(0);
  EXPECT_EQ(session.current(), 1u);
  session.failed(1);
  session.failed(2);
  EXPECT_EQ(session.current(), 0u);
}

TEST(Prefix, EndsBeforeTheNextKeyThatHasItNot) {
  EXPECT_EQ(prefix_end("/service/demo/"), "/service/demo0");
  EXPECT_EQ(prefix_end("a\xff"), "b");
  EXPECT_EQ(prefix_end("\xff"), std::string(1, '\0'));
}

TEST(Failures, AreNamedByWhatToDo) {
  using grpc::Status, grpc::StatusCode;
  EXPECT_EQ(classify(Status(StatusCode::UNAUTHENTICATED, "etcdserver: invalid auth token")),
            Failure::stale_token);
  EXPECT_EQ(classify(Status(StatusCode::INVALID_ARGUMENT, "etcdserver: user name is empty")),
            Failure::stale_token);
  EXPECT_EQ(classify(Status(StatusCode::INVALID_ARGUMENT, "etcdserver: too many operations")),
            Failure::refused);
  EXPECT_EQ(classify(Status(StatusCode::PERMISSION_DENIED, "etcdserver: permission denied")),
            Failure::refused);
  EXPECT_EQ(classify(Status(StatusCode::NOT_FOUND, "etcdserver: requested lease not found")),
            Failure::not_found);
  EXPECT_EQ(classify(Status(StatusCode::UNAVAILABLE, "etcdserver: no leader")),
            Failure::unreachable);
  EXPECT_EQ(classify(Status(StatusCode::DEADLINE_EXCEEDED, "")), Failure::unreachable);
}

}  // namespace
}  // namespace pgsteady::dcs
