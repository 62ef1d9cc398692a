#include "base/shared_memory.h"

#include <sys/shm.h>

#include <fstream>
#include <string>

namespace pgsteady {

void remove_shared_memory(const std::string& data_dir) {
  constexpr int kLine = 7;  // "key id", see utils/pidfile.h
  std::ifstream in(data_dir + "/postmaster.pid");
  std::string skipped;
  for (int line = 1; line < kLine; ++line) std::getline(in, skipped);
  unsigned long key = 0;  // a key_t, its sign extended
  int id = 0;
  if (!(in >> key >> id)) return;
  shmid_ds segment{};
  if (shmctl(id, IPC_STAT, &segment) != 0 || segment.shm_nattch > 0) return;
  if (segment.shm_perm.__key != static_cast<key_t>(key)) return;  // the number was used again
  shmctl(id, IPC_RMID, nullptr);
}

}  // namespace pgsteady
