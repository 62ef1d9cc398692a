#include "store/directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <thread>

namespace pgsteady::store {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

constexpr Step kSteps[] = {Step::make_folder, Step::create,  Step::write,
                           Step::sync,        Step::publish, Step::sync_folder};

class DirectoryStore : public testing::Test {
 protected:
  DirectoryStore() {
    char pattern[] = "/tmp/pgsteady-store-XXXXXX";
    root_ = mkdtemp(pattern);
  }
  ~DirectoryStore() override { fs::remove_all(root_); }

  std::unique_ptr<ObjectStore> open(Fault fault = {}) {
    auto store = open_directory(root_, std::move(fault));
    EXPECT_TRUE(store) << store.error().text();
    return std::move(*store);
  }
  std::vector<std::string> keys(const std::string& prefix = "") {
    std::vector<std::string> found;
    auto listed = open()->list(prefix, [&](const ObjectInfo& info) {
      found.push_back(info.key);
      return true;
    });
    EXPECT_TRUE(listed) << listed.error().text();
    return found;
  }
  std::size_t temporaries() {
    std::size_t count = 0;
    std::error_code error;
    for (fs::directory_iterator it(root_ + "/.pgsteady-tmp", error), end; it != end; ++it) ++count;
    return count;
  }

  std::string root_;
};

TEST_F(DirectoryStore, KeepsWhatItIsGiven) {
  auto store = open();
  EXPECT_EQ(*put_text(*store, "a/b/one", "content", Put::if_absent), Stored::created);
  EXPECT_EQ(*get_text(*store, "a/b/one", 100), "content");
  EXPECT_EQ(store->head("a/b/one")->size_bytes, 7u);
  EXPECT_EQ(*put_text(*store, "a/b/one", "other", Put::if_absent), Stored::existed);
  EXPECT_EQ(*get_text(*store, "a/b/one", 100), "content");
  EXPECT_EQ(*put_text(*store, "a/b/one", "other", Put::replace), Stored::created);
  EXPECT_EQ(*get_text(*store, "a/b/one", 100), "other");
  EXPECT_EQ(get_text(*store, "a/b/one", 3).error().kind, ErrorKind::refused);
  EXPECT_TRUE(store->remove("a/b/one"));
  EXPECT_TRUE(store->remove("a/b/one"));
  EXPECT_EQ(store->open("a/b/one").error().kind, ErrorKind::not_found);
  EXPECT_EQ(store->head("a/b").error().kind, ErrorKind::not_found);
  EXPECT_EQ(temporaries(), 0u);
}

TEST_F(DirectoryStore, ReadsRanges) {
  auto store = open();
  ASSERT_TRUE(put_text(*store, "x", "0123456789", Put::replace));
  char buffer[64];
  auto reader = store->open("x", {3, 4});
  EXPECT_EQ(*(*reader)->read(buffer), 4u);
  EXPECT_EQ(std::string(buffer, 4), "3456");
  EXPECT_EQ(*(*reader)->read(buffer), 0u);
  EXPECT_EQ(*(*store->open("x", {8, 100}))->read(buffer), 2u);
  EXPECT_EQ(*(*store->open("x", {20, 1}))->read(buffer), 0u);
}

TEST_F(DirectoryStore, ListsByPrefixAndFindsBySuffix) {
  auto store = open();
  for (const char* key :
       {"wal_005/01.lz4", "wal_005/02.zst", "wal_005/02", "b/base_1/t/p", "b/base_2"}) {
    ASSERT_TRUE(put_text(*store, key, key, Put::replace));
  }
  EXPECT_EQ(keys().size(), 5u);
  EXPECT_THAT(keys("wal_005/02"), UnorderedElementsAre("wal_005/02.zst", "wal_005/02"));
  EXPECT_THAT(keys("b/base_1"), UnorderedElementsAre("b/base_1/t/p"));
  EXPECT_THAT(keys("none/at/all"), IsEmpty());
  auto found = store->find("wal_005/02", {".lz4", ".zst", ""});
  ASSERT_EQ(found->size(), 2u);
  EXPECT_EQ((*found)[0].key, "wal_005/02.zst");
}

TEST_F(DirectoryStore, NothingIsSeenBeforeItIsWhole) {
  auto store = open();
  auto writer = store->create("wal_005/1", Put::if_absent);
  ASSERT_TRUE((*writer)->write("half"));
  EXPECT_THAT(keys(), IsEmpty());
  writer->reset();
  EXPECT_THAT(keys(), IsEmpty());
  EXPECT_EQ(temporaries(), 0u);
}

TEST_F(DirectoryStore, AStepThatFailsLeavesTheOldObjectOrTheWholeNewOne) {
  ASSERT_TRUE(put_text(*open(), "w/old", "old", Put::replace));
  for (auto how : {Put::if_absent, Put::replace}) {
    for (auto bad : kSteps) {
      auto store = open([bad](Step step) { return step == bad ? ENOSPC : 0; });
      const auto key = how == Put::replace ? std::string("w/old") : std::string("new/one");
      auto stored = put_text(*store, key, "new", how);
      if (bad == Step::make_folder && how == Put::replace) {  // there already
        ASSERT_TRUE(put_text(*open(), "w/old", "old", Put::replace));
        continue;
      }
      ASSERT_FALSE(stored) << static_cast<int>(bad);
      EXPECT_EQ(stored.error().kind, ErrorKind::retry);
      EXPECT_THAT(stored.error().message, HasSubstr("No space left"));
      EXPECT_THAT(stored.error().hint, HasSubstr("make room"));
      EXPECT_EQ(temporaries(), 0u);
      auto now = get_text(*open(), key, 100);
      const bool published = bad == Step::sync_folder;  // not yet acknowledged, but whole
      if (published) {
        EXPECT_EQ(*now, "new");
      } else if (how == Put::replace) {
        EXPECT_EQ(*now, "old");
      } else {
        EXPECT_EQ(now.error().kind, ErrorKind::not_found);
      }
      fs::remove_all(root_ + "/new");
      ASSERT_TRUE(put_text(*open(), "w/old", "old", Put::replace));
    }
  }
}

TEST_F(DirectoryStore, ACrashAtAnyStepLeavesNoHalfObject) {
  for (auto bad : kSteps) {
    const pid_t child = fork();
    if (child == 0) {
      auto store = open([bad](Step step) {
        if (step == bad) _exit(7);
        return 0;
      });
      put_text(*store, "crash/one", std::string(100000, 'x'), Put::if_absent);
      _exit(0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(WEXITSTATUS(status), 7);
    auto now = get_text(*open(), "crash/one", 1 << 20);
    if (bad == Step::sync_folder) {
      EXPECT_EQ(now->size(), 100000u);
    } else {
      EXPECT_EQ(now.error().kind, ErrorKind::not_found);
    }
    EXPECT_EQ(keys().size(), bad == Step::sync_folder ? 1u : 0u);  // temporary files are no objects
    fs::remove_all(root_ + "/crash");
  }
  // What the crashes left is removed once it is old.
  EXPECT_GT(temporaries(), 0u);
  for (const auto& entry : fs::directory_iterator(root_ + "/.pgsteady-tmp")) {
    fs::last_write_time(entry, fs::file_time_type::clock::now() - std::chrono::hours(25));
  }
  ASSERT_TRUE(put_text(*open(), "x", "x", Put::replace));
  EXPECT_EQ(temporaries(), 0u);
}

TEST_F(DirectoryStore, OfTwoWritersOneCreates) {
  auto store = open();
  std::atomic<int> created{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      auto stored = put_text(*store, "wal_005/same", std::to_string(i), Put::if_absent);
      if (stored && *stored == Stored::created) ++created;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(created, 1);
}

TEST_F(DirectoryStore, ReadOnlyAndMissingArchivesAreToldFromMissingObjects) {
  auto read_only = open([](Step step) { return step == Step::create ? EROFS : 0; });
  auto stored = put_text(*read_only, "x", "x", Put::replace);
  EXPECT_EQ(stored.error().kind, ErrorKind::refused);
  EXPECT_THAT(stored.error().hint, HasSubstr("read-only"));

  auto store = open();
  fs::remove_all(root_);
  EXPECT_EQ(store->open("x").error().kind, ErrorKind::refused);
  EXPECT_EQ(store->head("x").error().kind, ErrorKind::refused);
  EXPECT_FALSE(store->find("x", {""}));
  EXPECT_FALSE(store->list("", [](const ObjectInfo&) { return true; }));
  EXPECT_FALSE(put_text(*store, "x", "x", Put::replace));
  auto again = open_directory(root_);
  ASSERT_FALSE(again);
  EXPECT_THAT(again.error().hint, HasSubstr("mount it"));
  EXPECT_FALSE(fs::exists(root_));
}

TEST_F(DirectoryStore, KeysStayInside) {
  auto store = open();
  for (const char* key : {"", "/etc/passwd", "../x", "a/../../x", "a/", ".pgsteady-tmp/x"}) {
    EXPECT_EQ(put_text(*store, key, "x", Put::replace).error().kind, ErrorKind::refused) << key;
    EXPECT_EQ(store->open(key).error().kind, ErrorKind::refused) << key;
    EXPECT_EQ(store->remove(key).error().kind, ErrorKind::refused) << key;
  }
}

}  // namespace
}  // namespace pgsteady::store
