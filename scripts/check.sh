#!/usr/bin/env bash
# Checks the form of the sources before they are tested: formatting and clang-tidy. With --fix, formats.
# (Layering is a test: tests/layers_test.cpp.)
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh check
clang_tidy=build/clang-tidy/clang_tidy/data/bin/clang-tidy

mapfile -t sources < <(git ls-files '*.cpp' '*.h' '*.cu')
if [[ "${1:-}" == --fix ]]; then
  clang-format -i "${sources[@]}"
else
  clang-format --dry-run --Werror "${sources[@]}"
fi

mkdir -p build
scripts/install-wheels.sh scripts/wheels/clang-tidy.txt build/clang-tidy

# A check that clang-tidy does not know is ignored in silence, so each configured one must exist.
known=$($clang_tidy --list-checks -checks='*')
while read -r name; do
  grep -qx "    $name" <<<"$known" || {
    echo "check: .clang-tidy names '$name', which clang-tidy does not have" >&2
    exit 1
  }
done < <(sed -n 's/^  \([a-z][a-z0-9.-]*\),\{0,1\}$/\1/p' .clang-tidy)

[[ -f build/dev/build.ninja ]] || cmake --preset dev >/dev/null
cmake --build --preset dev --target assay_version >/dev/null
mapfile -t units < <(git ls-files 'results/*.cpp' 'runner/*.cpp' 'kernels/*.cpp' 'collectives/*.cpp' 'io/*.cpp')
# OpenMP's header comes after all others from g++'s own.
printf '%s\n' "${units[@]}" |
  xargs -P "$(nproc)" -n 4 $clang_tidy -p build/dev --quiet --warnings-as-errors='*' \
    --extra-arg=-Wno-deprecated-declarations --extra-arg=-Wno-zero-length-array \
    --extra-arg="-idirafter$(g++ -print-file-name=include)" 2>/dev/null
echo "check: ${#sources[@]} files formatted, ${#units[@]} units tidy"
