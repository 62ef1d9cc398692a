#include <gtest/gtest.h>

#include "core/testing.h"

namespace pgsteady::core::testing {
namespace {

// A new agent of pg1 without a server; a member key of that name has another address.
Case newcomer() {
  auto c = Case().follows().stopped("shut down in recovery");
  c.state.begun = c.state.name_is_ours = c.state.registered = false;
  c.seen.dcs.cluster.members[0].api_url = "http://10.9.9.9:8008/patroni";
  return c;
}

Case answered(bool taken) {
  auto c = newcomer();
  c.state.twin_asked = true;
  c.seen.name_taken = taken;
  return c;
}

TEST(Twin, NothingIsDoneUnderANameThatAnotherMayHave) {
  auto c = newcomer();
  auto decision = c.decide();
  ASSERT_TRUE(find<AskTwin>(decision));
  EXPECT_EQ(find<AskTwin>(decision)->api_url, "http://10.9.9.9:8008/patroni");
  EXPECT_FALSE(find<StartServer>(decision));
  EXPECT_FALSE(find_txn(decision, TxnKind::member));
  c.state = decision.state;
  EXPECT_FALSE(find<AskTwin>(c.decide())) << "asked once";
}

TEST(Twin, ANameThatIsTakenEndsTheNode) {
  auto decision = answered(true).decide();
  ASSERT_TRUE(find<Finish>(decision));
  EXPECT_EQ(find<Finish>(decision)->exit_code, 1);
  EXPECT_TRUE(says(decision, "there is already a node named 'pg1' running"));
  EXPECT_FALSE(find_txn(decision, TxnKind::member));
}

TEST(Twin, NobodyElseAnswersUnderIt) {
  auto c = answered(false);
  auto decision = c.decide();
  EXPECT_TRUE(find<StartServer>(decision));
  const auto* txn = find_txn(decision, TxnKind::member);
  ASSERT_TRUE(txn);
  ASSERT_EQ(txn->compares.size(), 1u);
  EXPECT_EQ(txn->compares[0].key, "members/pg1") << "another may have started at the same moment";
  c.state = decision.state;
  c.seen.txn_ends = {{TxnKind::member, true, false, false, 999, 0}};
  decision = c.decide();
  EXPECT_FALSE(decision.state.name_is_ours) << "it was faster";
  c.state = decision.state;
  c.seen.txn_ends.clear();
  c.seen.dcs.cluster.revision = 999;
  EXPECT_TRUE(find<AskTwin>(c.decide()));
}

TEST(Twin, ANameThatNobodyHasNeedsNoQuestion) {
  auto c = newcomer();
  c.seen.dcs.cluster.members.erase(c.seen.dcs.cluster.members.begin());
  EXPECT_FALSE(find<AskTwin>(c.decide()));
}

TEST(Twin, AnAgentThatFindsItsServerArmedAsksNobody) {
  auto c = Case();
  c.state.begun = c.state.name_is_ours = false;
  auto decision = c.decide();
  EXPECT_FALSE(find<AskTwin>(decision));
  EXPECT_TRUE(decision.state.lock);
}

}  // namespace
}  // namespace pgsteady::core::testing
