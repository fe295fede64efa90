#!/usr/bin/env bash
# From a clean machine to a result: installs what is missing, builds, measures, and writes the result
# file and report.html into the current folder. Arguments go to `assay run`.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
"$scripts/setup.sh"
"$scripts/build.sh" release --target assay  # and its modules
exec "$scripts/../build/release/assay" run --report report.html "$@"
