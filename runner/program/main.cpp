#include <csignal>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "results/base/error.h"
#include "results/catalog/price.h"
#include "runner/cluster/join.h"
#include "runner/core/module.h"
#include "runner/program/cli.h"
#include "runner/program/commands.h"
#include "runner/program/console.h"
#include "runner/program/setup.h"

int main(int argc, char** argv) {
  assay::HoldStandardStreams();
  std::signal(SIGPIPE, SIG_IGN);  // a reader that has gone away is not an error
  std::signal(SIGXFSZ, SIG_IGN);  // a file beyond `ulimit -f` is a write that fails (EFBIG)
  const int launched = assay::LaunchedSize();
  const bool is_privileged = assay::DropEnvironment();
  try {
    if (is_privileged && launched > 1) {
      throw assay::Error(
          "a launcher started this process and others, which can't find each other: assay has more "
          "rights here than who starts it (setuid, setgid or file capabilities), and so takes "
          "no launcher's variables; chmod ug-s or setcap -r it, or use --bootstrap tcp without "
          "one");
    }
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    if (!arguments.empty() && arguments[0] == "--worker") {
      return assay::WorkerMain(assay::WorkerMember);
    }
    const bool asks_version = !arguments.empty() && arguments[0] == "--version";
    const int status = assay::Execute(asks_version ? assay::PrintOnly{assay::VersionText()}
                                                   : assay::ParseArguments(arguments, argv[0]),
                                      assay::Catalog::BuiltIn);
    assay::CheckResults();
    return status;
  } catch (const assay::Error& error) {
    std::fprintf(stderr, "assay: %s\n", error.what());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "assay: unexpected: %s; please report this as a bug\n", error.what());
  }
  return 2;
}
