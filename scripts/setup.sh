#!/usr/bin/env bash
# Installs the Debian packages that are missing: those to build and run assay, with "test" those that
# its tests need too, with "check" those of scripts/check.sh and scripts/fuzz.sh. With "cuda" also the
# CUDA toolkit with cuDNN and NCCL, 1.3 GB from PyPI into /usr/local/cuda, where there is none. Beside
# a toolkit with cuDNN also the latter's frontend, headers alone, from PyPI. Says what it installs; does
# nothing when all is there. What comes from PyPI is held to the SHA-256 in scripts/wheels.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)

packages=(
  g++ cmake ninja-build pkg-config git ca-certificates
  libbenchmark-dev libcli11-dev libcurl4-openssl-dev libdnnl-dev libfmt-dev libgmock-dev libgtest-dev
  libfabric-dev libhwloc-dev libhwy-dev libopenmpi-dev libssl-dev liburing-dev nlohmann-json3-dev
  ocl-icd-opencl-dev openmpi-bin  # OpenCL: what Debian 12's oneDNN asks CMake for
  python3 python3-jsonschema rapidjson-dev
)
case "${1:-}" in
  test)  # MPICH beside Open MPI, whose mpirun stays the usual one; a browser for the page
    packages+=(chromium chromium-driver libmpich-dev mpich munge python3-pip python3-selenium slurm-client slurmctld slurmd)
    ;;
  check) packages+=(clang-19 clang-format libclang-rt-19-dev libomp-19-dev python3-pip) ;;
esac

cuda=/usr/local/cuda
cuda_wheels=$scripts/wheels/cuda-13.0.txt
if [[ ${1:-} != cuda ]]; then
  cuda_wheels=
  if [[ -e /proc/driver/nvidia/version && ! -e $cuda/bin/nvcc ]] && ! command -v nvcc >/dev/null; then
    echo "setup: a GPU's driver but no nvcc, so that GPUs are left out; scripts/setup.sh cuda installs it from PyPI" >&2
  fi
elif nvcc=$(PATH=$cuda/bin:$PATH command -v nvcc); then
  echo "setup: there is $nvcc already; assay wants CUDA 12.4 or later, with cuDNN and NCCL" >&2
  cuda_wheels=
elif [[ -e $cuda ]]; then
  echo "setup: $cuda has no bin/nvcc; complete that toolkit or move it away, then run this again" >&2
  exit 2
fi

# Where CMakeLists.txt looks for it.
frontend=$scripts/wheels/cudnn-frontend.txt
frontend_folder=/usr/local/share/cudnn-frontend
if [[ ! -e $cuda/include/cudnn.h && -z $cuda_wheels || -e $frontend_folder/include/cudnn_frontend.h ]]; then
  frontend=
fi
if [[ -n $cuda_wheels || -n $frontend ]] && ! /usr/bin/python3 -I -m pip --version >/dev/null 2>&1; then
  packages+=(python3-pip)
fi

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' ||
    missing+=("$package")
done
[[ ${#missing[@]} -eq 0 && -z $cuda_wheels && -z $frontend ]] && exit 0

install_packages() {
  echo "setup: installing ${missing[*]}" >&2
  "${as_root[@]}" apt-get update -qq

  # Tests start daemons of their own from these packages: none is started now, nor at the next boot.
  daemons=()
  for package in munge slurmctld slurmd; do
    [[ " ${missing[*]} " != *" $package "* ]] || daemons+=("$package")
  done
  policy=/usr/sbin/policy-rc.d
  if [[ ${#daemons[@]} -gt 0 && ! -e $policy ]]; then
    trap '"${as_root[@]}" rm -f $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $policy >/dev/null
    "${as_root[@]}" chmod 755 $policy
  fi
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  if [[ ${#daemons[@]} -gt 0 ]] && command -v systemctl >/dev/null; then
    "${as_root[@]}" systemctl disable --quiet "${daemons[@]}" >/dev/null 2>&1 || true
  fi
}

# Wheels spread the toolkit over folders, and name libraries for the loader alone.
install_cuda() {
  echo "setup: installing what wheels/${cuda_wheels##*/} names from PyPI into $cuda" >&2
  local wheels=$cuda.wheels
  "${as_root[@]}" "$scripts/install-wheels.sh" "$cuda_wheels" "$wheels"
  "${as_root[@]}" bash -euc '
    cd "$1/nvidia/cu13"
    cp -a ../{cudnn,nccl}/{include,lib} .
    ln -s lib lib64
    for library in lib/*.so.*; do ln -s "${library##*/}" "${library%%.so.*}.so"; done
    echo "$2/lib64" >/etc/ld.so.conf.d/assay-cuda.conf
    mv "$PWD" "$2"
    ldconfig
    rm -r "$1"' - "$wheels" "$cuda"
}

as_root=()
if [[ $EUID -ne 0 ]]; then
  if command -v sudo >/dev/null; then
    as_root=(sudo)
  elif [[ ${#missing[@]} -gt 0 || -n $cuda_wheels ]]; then
    echo "setup: missing ${missing[*]} ${cuda_wheels:+and what scripts/wheels/${cuda_wheels##*/} names}; install them as root, then run this again" >&2
    exit 2
  fi
fi
if [[ ${#missing[@]} -gt 0 ]]; then
  install_packages
fi
if [[ -n $cuda_wheels ]]; then
  install_cuda
fi
# It is of use to attention on GPUs alone: without a way to PyPI the rest is as good.
if [[ -n $frontend ]]; then
  echo "setup: installing what wheels/${frontend##*/} names from PyPI into $frontend_folder" >&2
  "${as_root[@]}" "$scripts/install-wheels.sh" "$frontend" $frontend_folder ||
    echo "setup: no frontend of cuDNN; attention on GPUs has no masks, backward and fp8" >&2
fi
