#!/usr/bin/env bash
# usage: install-wheels.sh LIST FOLDER
# Installs the wheels that LIST (scripts/wheels/*.txt) names into FOLDER with pip, wherever it gets them from: each must
# be of a version and a SHA-256 that stand there, and none is a source that would be built, which is to run its code.
# FOLDER is replaced as a whole; nothing is done where it holds what LIST names.
set -euo pipefail
if cmp -s "$1" "$2/wheels.txt"; then exit 0; fi
rm -rf "$2.partial"
# -I: no module of the current folder or of the user's takes pip's place.
/usr/bin/python3 -I -m pip install -q --disable-pip-version-check --root-user-action ignore --no-deps --no-compile \
  --no-cache-dir --require-hashes --only-binary :all: --target "$2.partial" -r "$1"
cp "$1" "$2.partial/wheels.txt"
rm -rf "$2"
mv "$2.partial" "$2"
