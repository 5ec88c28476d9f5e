#!/usr/bin/env bash
# Makes build/gpu-bundle/ and build/gpu-bundle.tar.gz: brood, its GPU tests and
# benchmarks, and gpu-check, which runs them. The GPU host needs the driver and
# glibc, nothing else: no Go, no compiler, no CUDA toolkit.
#
# Needs what `go build -tags cuda` needs: cgo and cuda.h, found by CGO_CFLAGS.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
go=${GO:-go}
bundle=build/gpu-bundle

# -trimpath: the tests then look for go.mod above their working directory, which
# is how they find the bundle's testdata. Without symbol tables they are half as
# large; stack traces stay whole.
flags=(-tags cuda -trimpath -ldflags '-s -w')
export CGO_ENABLED=1

rm -rf "$bundle" "$bundle.tar.gz"
mkdir -p "$bundle"
"$go" build "${flags[@]}" -o "$bundle/brood" ./cmd/brood
for package in cuda kernels/cu kernels/gpu train bench; do
	mkdir -p "$bundle/$package"
	"$go" test -c "${flags[@]}" -o "$bundle/$package/${package##*/}.test" "./$package"
	if [[ -d $package/testdata ]]; then
		cp -R "$package/testdata" "$bundle/$package/"
	fi
done
cp go.mod "$bundle/"
cp -R testdata "$bundle/"
# The tests of the images compare them with their sources.
mkdir -p "$bundle/kernels/cu/build"
cp -R kernels/cu/images kernels/cu/*.cu kernels/cu/*.cuh "$bundle/kernels/cu/"
cp kernels/cu/build/compiler.json "$bundle/kernels/cu/build/"
cp bench/gpu/gpu-check "$bundle/"

# What the results are of, and what the host must have.
version=$("$go" version -m "$bundle/brood")
setting() { sed -n "s/^\tbuild\t$1=//p" <<<"$version"; }
glibc=$(objdump -T "$bundle"/brood "$bundle"/*/*.test "$bundle"/*/*/*.test | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1)
{
	commit=$(setting vcs.revision)
	echo "commit=${commit:-unknown}$([[ $(setting vcs.modified) != true ]] || echo ', modified')"
	echo "go=$("$go" env GOVERSION)"
	echo "glibc=${glibc#GLIBC_}"
	echo "driver=$(sed -n 's/.*"driver": "\(.*\)".*/\1/p' kernels/cu/build/compiler.json)"
	echo "built=$(date -u +%Y-%m-%dT%H:%MZ)"
} >"$bundle/BUILD"

tar -czf "$bundle.tar.gz" -C build gpu-bundle
echo "$bundle.tar.gz: $(du -h "$bundle.tar.gz" | cut -f 1); on the GPU host: tar -xzf gpu-bundle.tar.gz && gpu-bundle/gpu-check"
