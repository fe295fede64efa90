#!/bin/bash
# usage: scripts/fuzz.sh [SECONDS_EACH]
# Builds the fuzzers in build/asan and runs all at once for that long (60 s). Exit status 1 where one finds something;
# the input that did it is left in build/asan/fuzz/findings.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
build=build/asan/fuzz
fuzzers="csv import journal run_json text"

command -v clang++-19 >/dev/null || {
  echo "fuzz.sh: clang++-19 is missing; apt-get install clang-19 libclang-rt-19-dev" >&2
  exit 2
}
scripts/build.sh asan --target $(printf '%s_fuzz ' $fuzzers)

# Seeds: the data that the readers are for.
for fuzzer in $fuzzers; do mkdir -p $build/corpus/$fuzzer; done
example=tests/data/run.example.json
cp $example $build/corpus/run_json/
{ head -1 $example | sed 's/$/]}/'; tail -n +2 $example | sed -E 's/(,|\]\})$//'; } \
  >$build/corpus/journal/run.example.json.part
for file in results/*/*.csv; do head -20 "$file" >$build/corpus/csv/$(basename "$file"); done
cat tests/canaries.h | tail -n +18 | split -l 4 - $build/corpus/text/canaries.

mkdir -p $build/findings
declare -A running
for fuzzer in $fuzzers; do
  # Texts are cut at 1 KiB. A reader that takes 10 s or 2 GiB for its input is a finding too.
  longest=65536
  [ $fuzzer = text ] && longest=1100
  build/asan/tests/fuzz/${fuzzer}_fuzz -max_total_time=$seconds -max_len=$longest -timeout=10 \
    -rss_limit_mb=2048 -artifact_prefix=$build/findings/$fuzzer- -print_final_stats=1 \
    $build/corpus/$fuzzer >$build/$fuzzer.log 2>&1 &
  running[$fuzzer]=$!
done
found=0
for fuzzer in $fuzzers; do
  wait ${running[$fuzzer]} || {
    found=1
    grep -E 'ERROR|SUMMARY|Test unit written' $build/$fuzzer.log || tail -20 $build/$fuzzer.log
  }
  echo "fuzzed $fuzzer for $seconds s"
  grep -E 'number_of_executed_units|new_units_added' $build/$fuzzer.log || true
done
exit $found
