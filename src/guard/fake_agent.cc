// The agent of the guardian's tests: hands its connection to the test that listens on the socket
// named by PGSTEADY_TEST_CONTROL, and lives until the test sends it an exit code.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cstdlib>
#include <cstring>

namespace {

bool send_descriptor(int control, int fd) {
  pid_t pid = getpid();
  iovec data{&pid, sizeof pid};
  alignas(cmsghdr) char space[CMSG_SPACE(sizeof fd)] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = space;
  message.msg_controllen = sizeof space;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  return sendmsg(control, &message, 0) > 0;
}

}  // namespace

int main() {
  const char* path = std::getenv("PGSTEADY_TEST_CONTROL");
  const char* fd = std::getenv("PGSTEADY_GUARD_FD");
  if (path == nullptr || fd == nullptr) return 2;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  int control = socket(AF_UNIX, SOCK_STREAM, 0);
  if (connect(control, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return 3;
  if (!send_descriptor(control, std::atoi(fd))) return 4;
  close(std::atoi(fd));
  unsigned char code = 0;
  return read(control, &code, 1) == 1 ? code : 5;
}
