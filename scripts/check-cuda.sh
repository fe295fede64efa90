#!/usr/bin/env bash
# usage: check-cuda.sh [--pypi VERSION] [ARCHITECTURE …]
# Compiles the CUDA kernels for each GPU that the toolkit knows or those named (75 90 …), and holds
# ptxas to its account: no spills, and few enough registers for a full multiprocessor, which is 2048
# threads for 65536 of them. Needs nvcc, which makes an error of every warning, and no GPU.
#
# --pypi 12.9 takes an older toolkit's compiler from PyPI (scripts/wheels), for GPUs that this one no longer knows
# (V100) and for what it has in its headers. PyPI has no nvcc of CUDA 12, but NVRTC: the same compiler
# as a library, with the same ptxas. It takes host code for device code, so that the launchers are
# compiled too; they don't count. Then the module is compiled with that toolkit's headers, linked with its
# libraries, and opened by build/dev/assay, which it doesn't take further than to a driver.
set -euo pipefail
umask 022  # a module that others may write isn't opened
cd "$(dirname "$0")/.."
most_registers=32
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

toolkit=
if [[ ${1:-} == --pypi ]]; then
  toolkit=${2:-}
  list=scripts/wheels/cuda-$toolkit.txt
  [[ $toolkit =~ ^12\.[0-9]+$ && -e $list ]] ||
    { echo "check-cuda: --pypi wants a version of CUDA 12 whose wheels are in scripts/wheels: 12.9" >&2; exit 2; }
  shift 2
fi
architectures=("$@")

if [[ -z $toolkit ]]; then
  nvcc=${NVCC:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
  [[ -x $nvcc ]] || { echo "check-cuda: no nvcc here; set NVCC, or install the CUDA toolkit" >&2; exit 2; }
  architectures_known() { "$nvcc" --list-gpu-arch | grep -oE '[0-9]+'; }
  # compile SOURCE ARCHITECTURE: ptxas's account goes to stderr.
  compile() {
    "$nvcc" -std=c++17 -O3 -I. --expt-relaxed-constexpr -Werror all-warnings -Xptxas -v,-Werror,-warn-spills \
      -arch="sm_$2" -cubin -o "$folder/code" "$1"
  }
else
  wheels=$PWD/build/cuda-$toolkit
  mkdir -p build
  scripts/install-wheels.sh "$list" "$wheels"
  nvidia=$wheels/nvidia
  # NVRTC has no C++ library; of that the kernels have the names of types alone.
  mkdir "$folder/include"
  echo 'namespace std { using size_t = unsigned long; }' >"$folder/include/cstddef"
  echo 'namespace std { using uint64_t = unsigned long; using uint32_t = unsigned; using uint16_t = unsigned short;
    using uint8_t = unsigned char; using int64_t = long; }' >"$folder/include/cstdint"
  cat >"$folder/nvrtc.py" <<'PYTHON'
import ctypes, sys

library, source, *options = sys.argv[1:]
nvrtc = ctypes.CDLL(library)
if source == "--list":
    count = ctypes.c_int()
    nvrtc.nvrtcGetNumSupportedArchs(ctypes.byref(count))
    known = (ctypes.c_int * count.value)()
    nvrtc.nvrtcGetSupportedArchs(known)
    sys.exit(print(*known, sep="\n"))


def text(of):
    size = ctypes.c_size_t()
    getattr(nvrtc, f"nvrtcGet{of}Size")(program, ctypes.byref(size))
    chars = ctypes.create_string_buffer(size.value)
    getattr(nvrtc, f"nvrtcGet{of}")(program, chars)
    return chars.value.decode()


program = ctypes.c_void_p()
with open(source, "rb") as file:
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), file.read(), source.encode(), 0, None, None)
failed = nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*map(str.encode, options)))
sys.exit(text("ProgramLog")) if failed else print(text("PTX"))
PYTHON
  nvrtc() { /usr/bin/python3 "$folder/nvrtc.py" "$nvidia/cuda_nvrtc/lib/libnvrtc.so.12" "$@"; }
  architectures_known() { nvrtc --list; }
  compile() {
    nvrtc "$1" -std=c++17 -I. "-I$folder/include" "-I$nvidia/cuda_runtime/include" --pre-include=cuda_runtime_api.h \
      --device-as-default-execution-space --relocatable-device-code=true --device-int128 -D__extension__= \
      "--gpu-architecture=compute_$2" >"$folder/code.ptx" &&
      "$nvidia/cuda_nvcc/bin/ptxas" -c -v "-arch=sm_$2" -o "$folder/code" "$folder/code.ptx"
  }
fi
[[ ${#architectures[@]} -gt 0 ]] || mapfile -t architectures < <(architectures_known | awk '$1 >= 70')

kernels=0
for architecture in "${architectures[@]}"; do
  for source in kernels/*.cu; do
    compile "$source" "$architecture" 2>"$folder/account" || {
      cat "$folder/account" >&2
      exit 1
    }
    # "Compiling entry function 'NAME'", "Function properties for NAME", "… N bytes spill stores, …", then
    # "Used N registers, …".
    found=$(awk -v most=$most_registers -v sm="sm_$architecture" '
      /Compiling entry function/ { split($0, quoted, "\x27"); name = quoted[2]; ++kernels }
      /Function properties for/ { of = $NF }
      /spill stores/ && of == name { if (match($0, /[0-9]+ bytes spill stores/) && substr($0, RSTART) + 0 > 0) bad = bad sm ": " name " spills\n" }
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

if [[ -n $toolkit ]]; then
  # The program that the module is to be opened by, and what of it the module carries.
  scripts/build.sh dev --target assay
  mkdir "$folder/objects" "$folder/module"
  # The last that is compiled of a source is what is linked.
  compile_host() {
    g++ -std=c++20 -fPIC -Wall -Wextra -Werror -I. -iquote build/dev/generated -isystem "$nvidia/cuda_runtime/include" \
      -isystem "$nvidia/cuda_nvcc/include" -isystem "$nvidia/cublas/include" -c -o "$folder/objects/$(basename "${!#}").o" "$@"
  }
  for source in kernels/{cuda_*,compound,inputs,op,reference}.cpp runner/core/threads.cpp; do compile_host "$source"; done
  said="without cuDNN"
  frontend=/usr/local/share/cudnn-frontend/include
  cudnn=${CUDNN_INCLUDE_DIR:-/usr/local/cuda/include}
  if [[ -e $cudnn/cudnn.h ]]; then
    mkdir "$folder/cudnn"
    ln -s "$cudnn"/cudnn*.h "$folder/cudnn"  # and nothing else of the toolkit beside it
    for source in kernels/cuda_{cudnn,sdpa}.cpp; do
      compile_host -DASSAY_CUDNN -isystem "$folder/cudnn" "$source"
    done
    said="with and without cuDNN"
    if [[ -e $frontend/cudnn_frontend.h ]]; then
      compile_host -DASSAY_CUDNN_FRONTEND -DNV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING -DCUDNN_FRONTEND_SKIP_JSON_LIB \
        -isystem "$frontend" -isystem "$folder/cudnn" kernels/cuda_cudnn.cpp
      said+=" and its frontend"
    fi
  fi
  echo "check-cuda: the module's sources compile with the headers of CUDA $toolkit, $said"
  compile_host -fsyntax-only -isystem "$nvidia/nccl/include" collectives/nccl.cpp
  echo "check-cuda: and the module for NCCL with those of 2.19, the oldest that it knows"

  # PyPI has neither nvcc nor fatbinary of CUDA 12: clang compiles the kernels with that toolkit's headers
  # and ptxas, and a newer fatbinary packs them, whose options have other names. Clang has no __ldcg.
  clang=$(command -v clang++-19 clang++ | head -1 || true)
  fatbinary=$(command -v fatbinary /usr/local/cuda/bin/fatbinary | head -1 || true)
  [[ -n $clang && -n $fatbinary ]] || { echo "check-cuda: the module isn't linked, for want of clang++ or fatbinary"; exit 0; }
  cuda=$folder/cuda
  mkdir -p "$cuda/bin"
  cp -rs "$nvidia/cuda_runtime/include" "$cuda"
  cp -rsn "$nvidia/cuda_nvcc/include" "$cuda"
  ln -s "$nvidia/cuda_nvcc/nvvm" "$cuda"
  ln -s "$nvidia/cuda_nvcc/bin/ptxas" "$cuda/bin"
  cat >"$cuda/bin/fatbinary" <<SCRIPT
#!/usr/bin/env bash
exec "$fatbinary" \$(sed -E 's/--?image=profile=sm_/--image3=kind=elf,sm=/g; s/--?image=profile=compute_/--image3=kind=ptx,sm=/g' <<<"\$*")
SCRIPT
  chmod +x "$cuda/bin/fatbinary"
  cat >"$folder/ldcg.h" <<'CUDA'
#include <cuda_runtime.h>
inline __device__ ulonglong2 __ldcg(const ulonglong2* from) {
  ulonglong2 to;
  asm("ld.global.cg.v2.u64 {%0, %1}, [%2];" : "=l"(to.x), "=l"(to.y) : "l"(from));
  return to;
}
CUDA
  "$clang" -x cuda --cuda-path="$cuda" --cuda-gpu-arch=sm_70 --cuda-gpu-arch=sm_90 -std=c++17 -O3 -fPIC -I. -Wno-unknown-cuda-version \
    -Wno-pass-failed -include "$folder/ldcg.h" -c -o "$folder/objects/kernels.o" kernels/cuda_kernels.cu
  libraries=("$nvidia"/cuda_runtime/lib/libcudart.so.12 "$nvidia"/cublas/lib/libcublas{,Lt}.so.12)
  g++ -shared -Wl,--no-undefined,--version-script=cmake/module.map -o "$folder/module/libassay-cuda.so" "$folder"/objects/*.o \
    build/dev/libassay_{memory,results}.a "${libraries[@]}" -lfmt -lcrypto -Wl,-rpath,"$nvidia/cuda_runtime/lib:$nvidia/cublas/lib"
  for command in list "env --no-metadata"; do
    # shellcheck disable=SC2086
    ASSAY_MODULE_DIR=$folder/module build/dev/assay $command
  done >"$folder/list"
  opened=$(grep -F "CUDA $toolkit (driver" "$folder/list" || true)
  if [[ -z $opened ]] || { [[ $opened == *"(driver: none)"* ]] &&
    ! grep -qE "cuda +not loaded: there is no NVIDIA driver" "$folder/list"; }; then
    echo "check-cuda: assay doesn't open the module, or doesn't say that there is no driver:" >&2
    cat "$folder/list" >&2
    exit 1
  fi
  echo "check-cuda: the module links with the libraries of CUDA $toolkit, and assay opens it: $(xargs <<<"$opened")"
fi
