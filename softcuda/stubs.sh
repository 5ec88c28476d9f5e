#!/bin/bash
# stubs.sh CUDA_INCLUDE OBJECT...: writes the C source of an entry point for each
# function of the driver that cuda.h declares and no object defines. Each reports
# its name and returns CUDA_ERROR_NOT_SUPPORTED, so that a program that links to
# it can start.
set -euo pipefail
include=$1
shift

declared() {
  # As programs of today see the names, then with the older forms.
  for older in '' -D__CUDA_API_VERSION_INTERNAL; do
    "${CXX:-g++}" -E -P -x c++ $older "$include/cuda.h" | grep -oE '\bcu[A-Z][A-Za-z0-9_]*[[:space:]]*\(' | tr -d '( '
  done
  # The driver has these, cuda.h of CUDA 13 declares them no more.
  printf '%s\n' cuMemAdvise cuMemPrefetchAsync cuGraphAddDependencies cuGraphGetEdges
}

defined() { nm --defined-only "$@" | awk '{print $3}' | grep '^cu[A-Z]'; }

echo 'int softcuda_unimplemented(const char *name);'
comm -23 <(declared | sort -u) <(defined "$@" | sort -u) |
  sed 's/.*/__attribute__((visibility("default"))) int &(void) { return softcuda_unimplemented("&"); }/'
