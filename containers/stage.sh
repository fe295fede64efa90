#!/bin/sh
# Builds assay and installs it below STAGED, with STAGED/packages, the names of the Debian packages that
# hold the libraries it is linked against, and the libraries of CUDA where there is a toolkit.
# usage: stage.sh STAGED
set -eu
cmake --preset release -DBUILD_TESTING=OFF -DCMAKE_INSTALL_PREFIX=/usr/local
cmake --build --preset release
DESTDIR=$1 cmake --install build/release --strip
tests/run_paths.py "$1"
ldd "$1/usr/local/bin/assay" $(find "$1" -name "*.so") | awk '/=> \// && !/\/usr\/local\// {print $3}' | sort -u |
  while read -r library; do dpkg -S "$(readlink -f "$library")" 2>/dev/null || dpkg -S "$library"; done |
  cut -d: -f1 | sort -u >"$1/packages"

cuda=usr/local/cuda/lib64
[ -d /$cuda ] || exit 0
mkdir -p "$1/$cuda"
# cuDNN compiles with nvrtc at run time.
for name in cudart cublas cublasLt cudnn 'cudnn_*' nvrtc nvrtc-builtins nccl; do
  cp -P /$cuda/lib$name.so.* "$1/$cuda/"
done
