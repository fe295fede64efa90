#!/usr/bin/env bash
# Compiles the CUDA kernels with every warning an error, for each GPU that nvcc knows or those named
# (75 90 …), and holds ptxas to its account: no spills, and few enough registers for a full
# multiprocessor, which is 2048 threads for 65536 of them. Needs nvcc and no GPU.
set -euo pipefail
cd "$(dirname "$0")/.."
nvcc=${NVCC:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
[[ -x $nvcc ]] || { echo "check-cuda: no nvcc here; set NVCC, or install the CUDA toolkit" >&2; exit 2; }
most_registers=32

architectures=("$@")
if [[ ${#architectures[@]} -eq 0 ]]; then
  mapfile -t architectures < <("$nvcc" --list-gpu-arch | grep -oE '[0-9]+' | awk '$1 >= 70')
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
kernels=0
for architecture in "${architectures[@]}"; do
  for source in kernels/*.cu; do
    "$nvcc" -std=c++17 -O3 -I. --expt-relaxed-constexpr -Werror all-warnings -Xptxas -v,-Werror,-warn-spills \
      -arch="sm_$architecture" -cubin -o "$folder/code" "$source" 2>"$folder/account" || {
      cat "$folder/account" >&2
      exit 1
    }
    # "Compiling entry function 'NAME'", then "… N bytes spill stores, …", then "Used N registers, …".
    found=$(awk -v most=$most_registers -v sm="sm_$architecture" '
      /Compiling entry function/ { split($0, quoted, "\x27"); name = quoted[2]; ++kernels }
      /spill stores/ { if (match($0, /[0-9]+ bytes spill stores/) && substr($0, RSTART) + 0 > 0) bad = bad sm ": " name " spills\n" }
      /Used [0-9]+ registers/ {
        match($0, /Used [0-9]+/); used = substr($0, RSTART + 5) + 0; ++accounts
        if (used > most) bad = bad sm ": " name " uses " used " registers, more than " most "\n"
      }
      END { if (kernels != accounts) bad = bad sm ": not every kernel has an account\n"; printf "%s", bad; print kernels + 0 }' "$folder/account")
    count=${found##*$'\n'}
    if [[ $found != "$count" ]]; then
      echo "${found%$'\n'*}" >&2
      exit 1
    fi
    kernels=$((kernels + count))
  done
done
[[ $kernels -gt 0 ]] || { echo "check-cuda: ptxas gave no account of any kernel" >&2; exit 1; }
echo "check-cuda: $kernels kernels for sm_${architectures[*]}: no spills, at most $most_registers registers"
