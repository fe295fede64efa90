#!/usr/bin/env bash
# usage: install-wheels.sh LIST FOLDER
# Installs the wheels that LIST (scripts/wheels/*.txt) names into FOLDER with pip, wherever it gets them from: each must
# be of a version and a SHA-256 that stand there, and none is a source that would be built, which is to run its code.
set -euo pipefail
# -I: no module of the current folder or of the user's takes pip's place.
exec /usr/bin/python3 -I -m pip install -q --disable-pip-version-check --root-user-action ignore --no-deps --no-compile \
  --no-cache-dir --require-hashes --only-binary :all: --target "$2" -r "$1"
