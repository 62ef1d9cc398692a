#include "base/shared_memory.h"

#include <gtest/gtest.h>
#include <sys/shm.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

namespace pgsteady {
namespace {

class SharedMemory : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(mkdtemp(directory_.data()));
    // Any key will do that nobody has.
    do {
      id_ = shmget(++key_, 56, IPC_CREAT | IPC_EXCL | 0600);
    } while (id_ < 0 && errno == EEXIST);
    ASSERT_GE(id_, 0);
  }
  void TearDown() override {
    shmctl(id_, IPC_RMID, nullptr);
    std::filesystem::remove_all(directory_);
  }

  // As PostgreSQL writes it: pid, directory, start, port, socket directory, address, key and id.
  void write_pid_file(key_t key) {
    std::ofstream(directory_ + "/postmaster.pid")
        << "1234\n"
        << directory_ << "\n1790000000\n5432\n\n127.0.0.1\n"
        << "  " << static_cast<unsigned long>(key) << "      " << id_ << "\nready   \n";
  }
  bool exists() const {
    shmid_ds segment{};
    return shmctl(id_, IPC_STAT, &segment) == 0;
  }

  std::string directory_ = "/tmp/pgsteady-test-XXXXXX";
  key_t key_ =
      static_cast<key_t>(0x80000000U + (static_cast<unsigned>(getpid()) << 8));  // negative
  int id_ = -1;
};

TEST_F(SharedMemory, OfAKilledServerIsRemoved) {
  remove_shared_memory(directory_);
  EXPECT_TRUE(exists()) << "there is no postmaster.pid";
  write_pid_file(key_);
  remove_shared_memory(directory_);
  EXPECT_FALSE(exists());
}

TEST_F(SharedMemory, InUseOrOfAnotherKeyIsLeftAlone) {
  write_pid_file(key_ + 1);
  remove_shared_memory(directory_);
  EXPECT_TRUE(exists());
  write_pid_file(key_);
  const void* attached = shmat(id_, nullptr, 0);
  remove_shared_memory(directory_);
  EXPECT_TRUE(exists());
  shmdt(attached);
}

}  // namespace
}  // namespace pgsteady
