// Rights of root's that tests of other users' files and processes take.
#pragma once

#include <sys/mman.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

namespace assay {

constexpr uid_t kNobody = 65534;

// Whether a child of this process can give a file to `nobody` and then become that user itself.
// Root can't where it lacks the right, or in a container that knows no other user.
inline bool CanBeAnother() {
  const pid_t child = fork();
  if (child == 0) {
    const int file = memfd_create("other-user", MFD_CLOEXEC);
    _exit(fchown(file, kNobody, kNobody) != 0 || setgid(kNobody) != 0 || setuid(kNobody) != 0);
  }
  int status = 1;
  return waitpid(child, &status, 0) == child && status == 0;
}

}  // namespace assay
