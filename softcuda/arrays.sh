#!/bin/bash
# arrays.sh UNIT.kernels.o...: writes the C++ file that tells the driver which units
# define which static variables of functions: shared arrays are among them. A
# template's arrays are in each unit that uses it.
set -euo pipefail
echo 'extern "C" void sc_register_array(const char *unit, const char *symbol);'
echo '__attribute__((constructor)) static void register_arrays() {'
for object; do
  unit=$(basename "$object" .kernels.o)
  nm --defined-only "$object" | awk -v unit="$unit" '$3 ~ /^_ZZ/ { printf "  sc_register_array(\"%s\", \"%s\");\n", unit, $3 }'
done
echo '}'
