#!/bin/bash
# register.sh UNIT: reads UNIT.cu, preprocessed with SOFTCUDA_SCAN, and writes the
# C++ file that includes it and registers its kernels.
set -euo pipefail
printf '#define SC_UNIT "%s"\n#include "%s.cu"\n' "$1" "$1"
# A file of device functions alone has no kernel.
tr '\n' ' ' | { grep -oE 'softcuda_kernel_here +void +[A-Za-z_0-9]+ *\(' || [ $? -eq 1 ]; } |
  sed -E 's/.* ([A-Za-z_0-9]+) *\($/SC_KERNEL(\1)/' | sort -u
echo SC_SHARED
