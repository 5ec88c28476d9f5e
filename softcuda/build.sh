#!/bin/bash
# build.sh OUT KERNELS CUDA_INCLUDE: builds into the folder OUT what OUT lacks or
# has from older sources:
#   libcuda.so.1, libcuda.so  the driver
#   kernels.so                the kernels of KERNELS/*.cu, compiled for the host
#   env                       to be sourced: makes programs use both
# and in OUT/check the same with the checker. KERNELS is a folder, or several with
# colons between. CUDA_INCLUDE is the folder of cuda.h.
set -euo pipefail
if [ $# -ne 3 ]; then
  echo "usage: build.sh OUT KERNELS CUDA_INCLUDE" >&2
  exit 2
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
kernels=
IFS=: read -ra folders <<<"$2"
for folder in "${folders[@]}"; do
  kernels+=${kernels:+:}$(cd "$folder" && pwd)
done
include=$(cd "$3" && pwd)
if [ ! -f "$include/cuda.h" ]; then
  echo "build.sh: there is no cuda.h in $include" >&2
  exit 2
fi
exec make --no-print-directory -j "${SOFTCUDA_JOBS:-2}" -f "$here/Makefile" OUT="$out" KERNELS="$kernels" CUDA_INCLUDE="$include"
