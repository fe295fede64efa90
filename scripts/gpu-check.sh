#!/usr/bin/env bash
# Every check that needs an NVIDIA GPU, by one command: the tests that are skipped elsewhere and a first
# look at the machine, in under eight minutes; then beside it what the peers say that are installed (nvbandwidth, nccl-tests, cutlass_profiler). All that was printed and every result file is
# kept in a folder, to be committed or sent in.
#
#   scripts/gpu-check.sh [OUT]            builds what is missing (OUT: gpu-check-UTC)
#   scripts/gpu-check.sh --pack FOLDER    no GPU needed: puts all that it takes into FOLDER, for a
#                                         machine with a driver and CUDA's libraries but no compiler;
#                                         there run FOLDER/gpu-check.sh
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

if [[ ${1:-} == --pack ]]; then
  folder=${2:?usage: scripts/gpu-check.sh --pack FOLDER}
  "$here/build.sh" release --target assay assay-cuda assay-nccl assay_gpu_tests
  mkdir -p "$folder/lib"
  cp "$here/gpu-check.sh" "$here/../build/release/assay" "$here"/../build/release/libassay-{cuda,nccl}.so \
    "$here/../build/release/tests/assay_gpu_tests" "$folder/"
  # The libraries that a bare machine may lack: not the C library's and not CUDA's.
  for file in "$folder"/assay "$folder"/*.so "$folder/assay_gpu_tests"; do
    strip --strip-debug "$file"
    ldd "$file" | awk '$3 ~ /^\// {print $3}'
  done | sort -u | grep -vE '/(libc|libm|libdl|librt|libpthread|libresolv|ld-linux[^/]*|libcu[^/]*|libnccl|libnv[^/]*)\.so' |
    xargs -I '{}' cp -L '{}' "$folder/lib/"
  du -sh "$folder"
  exit
fi

build=$here tests=$here
if [[ ! -x $here/assay_gpu_tests ]]; then  # not packed
  "$here/build.sh" release --target assay assay-cuda assay_gpu_tests
  build=$here/../build/release
  tests=$build/tests
fi
[[ ! -d $here/lib ]] || export LD_LIBRARY_PATH=$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
if [[ -n ${1:-} ]]; then
  out=$1
  mkdir -p "$out"
else
  out=gpu-check-$(date -u +%Y%m%dT%H%M%SZ)
  mkdir "$out"  # a folder that somebody else has put there is an error
fi
out=$(cd "$out" && pwd)
exec > >(tee "$out/log.txt") 2>&1

failed=() skipped=()
# step SECONDS NAME COMMAND…: runs it, and remembers that it failed.
step() {
  local seconds=$1 name=$2 begin=$SECONDS
  shift 2
  echo
  echo "== $name: ${*/#"$build"/…}"
  status=0
  timeout "$seconds" "$@" || status=$?
  [[ $status -eq 0 ]] || failed+=("$name (status $status)")
  echo "== $name took $((SECONDS - begin)) s"
}
measure() {
  local seconds=$1 name=$2
  shift 2
  step "$seconds" "$name" "$build/assay" run "$@" --rest 1 --no-metadata --quiet --out "$out/$name.json"
}

# Measures what a sound GPU may lack, such as fp8 before Hopper. It is no failure if each case was skipped,
# provided that each was put on a device, which it has in its record as its units: a case whose library is missing
# was not. A result file has a record a line.
measure_if_able() {
  measure "$@"
  local file=$out/$2.json
  [[ $status -eq 1 ]] && grep -q '^{"probe":' "$file" || return 0
  ! grep '^{"probe":' "$file" | grep -qvE '"backend":"[^"]*","status":"skipped"' || return 0
  ! grep '^{"probe":' "$file" | grep -qv '"units":' || return 0
  unset 'failed[-1]'
  skipped+=("$2: $(sed -n 's/.*"status":"skipped","reason":"\(\([^"\\]\|\\.\)*\)".*/\1/p' "$file" | sort -u | head -3 | paste -sd ';')")
}

step 20 machine "$build/assay" env
command -v nvidia-smi >/dev/null && step 20 driver nvidia-smi
gpus=$({ nvidia-smi --list-gpus 2>/dev/null || true; } | wc -l)
[[ $gpus -gt 0 ]] || { echo "gpu-check: nvidia-smi lists no GPU here" >&2; exit 2; }

step 150 tests "$tests/assay_gpu_tests" --gtest_brief=1
measure 300 quick --suite quick --backend cuda,cublaslt,cudnn,nccl
# The options for questions that concern a single GPU.
one=(--device cuda:0 --rounds 3)
measure 60 memory memory "${one[@]}" --backend cuda --set pattern=read,write,copy,triad --max-seconds 3
measure 30 cache memory "${one[@]}" --backend cuda --set pattern=read,copy --set bytes=4M --max-seconds 3
measure 60 copy copy "${one[@]}" --set route=h2d,d2h,both --max-seconds 3
measure 30 launch launch "${one[@]}" --set mode=sync,stream,graph --max-seconds 2
measure 120 gemm gemm "${one[@]}" --backend cublaslt --dtype tf32,bf16,f16,fp8_e4m3,fp8_e5m2_e4m3,mxfp8,nvfp4,int8 \
  --set m=8192 --set n=8192 --set k=8192 --set algo=tuned --max-seconds 4
measure_if_able 30 gemm-fast gemm "${one[@]}" --backend cublaslt --dtype fp8_e4m3 --set acc=f32,f32_fast \
  --set m=8192 --set n=8192 --set k=8192 --max-seconds 3
measure_if_able 30 grouped grouped_gemm "${one[@]}" --dtype bf16,f16 --max-seconds 3
measure_if_able 60 attention attention "${one[@]}" --backend cudnn --set mask=full,causal_bottom_right \
  --set direction=forward,backward --set heads_q=64 --set seq_q=4096 --set seq_kv=4096 \
  --max-seconds 3
measure_if_able 30 attention-fp8 attention "${one[@]}" --backend cudnn --dtype fp8_e4m3 --set mask=full,causal_top_left \
  --set heads_q=64 --set seq_q=4096 --set seq_kv=4096 --max-seconds 3
measure_if_able 30 decode attention "${one[@]}" --backend cudnn --dtype bf16,fp8_e4m3 --set phase=decode --set batch=16 \
  --set heads_q=64 --set seq_q=1 --set seq_kv=8192 --set algo=tuned --max-seconds 3
if [[ $gpus -gt 1 ]]; then
  measure 60 links copy --set route=peer --set from=0 --rounds 2 --max-seconds 1
  measure 60 all-links copy --set route=all --rounds 2 --max-seconds 2
  step 60 all_reduce "$build/assay" coll all_reduce -b 1M -e 1G -f 4 -g "$gpus" --no-metadata \
    --out "$out/all_reduce.json"
fi

[[ $SECONDS -le 480 ]] || failed+=("it took $SECONDS s, more than eight minutes")

# Peers, in turn with our own, three times each: unlike figures are to be explained.
if command -v nvbandwidth >/dev/null; then
  for turn in 1 2 3; do
    step 20 "nvbandwidth-$turn" nvbandwidth -t host_to_device_memcpy_ce device_to_host_memcpy_ce
    measure 20 "beside-nvbandwidth-$turn" copy --device cuda:0 --set route=h2d,d2h --rounds 2 \
      --max-seconds 1
  done
fi
if command -v cutlass_profiler >/dev/null; then
  for turn in 1 2 3; do
    step 120 "cutlass-$turn" cutlass_profiler --operation=Gemm --m=8192 --n=8192 --k=8192 \
      --A=bf16:row --B=bf16:column --C=bf16 --accumulator-type=f32 --verification-enabled=false \
      --warmup-iterations=2 --profiling-iterations=10
    measure 20 "beside-cutlass-$turn" gemm --dtype bf16 --set m=8192 --set n=8192 --set k=8192 \
      --set cache=warm --device cuda:0 --rounds 2 --max-seconds 2
  done
fi
if [[ $gpus -gt 1 ]] && command -v all_reduce_perf >/dev/null; then
  for turn in 1 2 3; do
    step 30 "nccl-tests-$turn" all_reduce_perf -b 64M -e 1G -f 4 -g "$gpus"
    step 30 "beside-nccl-tests-$turn" "$build/assay" coll all_reduce -b 64M -e 1G -f 4 -g "$gpus" --no-metadata
  done
fi

echo
[[ ${#skipped[@]} -eq 0 ]] || printf 'gpu-check: not on this GPU: %s\n' "${skipped[@]}"
if [[ ${#failed[@]} -gt 0 ]]; then
  printf 'gpu-check: failed: %s\n' "${failed[@]}"
  exit 1
fi
echo "gpu-check: all that this GPU can do worked; see $out"
