#!/usr/bin/env bash
# Makes build/release: a static brood for each target, SHA256SUMS, an SBOM for each,
# and the licences of everything in them. Each binary is built twice, the second time
# from a copy of the source in another folder with an empty build cache, and both must
# be the same bytes.
#
# VERSION=v1.2.3 names the version; `git describe` does where it is not given.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
go=${GO:-go}
out=$PWD/build/release
targets=(${TARGETS:-linux/amd64 linux/arm64 darwin/arm64})

if ! commit=$(git rev-parse HEAD 2>/dev/null); then
	echo "release: this is no git checkout, so the commit that it is built from is not known; build in one" >&2
	exit 1
fi
version=${VERSION:-$(git describe --tags --always --dirty)}
time=$(TZ=UTC git show -s --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ HEAD)
package=brood/internal/version

# build SOURCE FOLDER: nothing of this machine may get into a binary, neither paths
# nor settings.
build() {
	local target os arch
	for target in "${targets[@]}"; do
		os=${target%/*} arch=${target#*/}
		(cd "$1" && env -u GOEXPERIMENT GOFLAGS= GOAMD64=v1 GOARM64=v8.0 CGO_ENABLED=0 GOOS="$os" GOARCH="$arch" "$go" build -trimpath -buildvcs=false \
			-ldflags "-s -w -X $package.stamped=$version -X $package.commit=$commit -X $package.commitTime=$time" \
			-o "$2/brood-$os-$arch" ./cmd/brood)
	done
}

rm -rf "$out"
mkdir -p "$out"
build "$PWD" "$out"

scratch=$(mktemp -d)
trap 'chmod -R u+w "$scratch"; rm -rf "$scratch"' EXIT
mkdir "$scratch/source" "$scratch/again"
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
	[[ ! -e $file ]] || printf '%s\0' "$file"
done | tar -c --null -T - | tar -x -C "$scratch/source"
GOCACHE=$scratch/cache build "$scratch/source" "$scratch/again"
for binary in "$out"/brood-*; do
	if ! cmp "$binary" "$scratch/again/${binary##*/}"; then
		echo "release: two builds of ${binary##*/} differ" >&2
		exit 1
	fi
done

"$go" run ./internal/release -version "$version" -commit "$commit" -time "$time" "$out"
(cd "$out" && sha256sum -- * >SHA256SUMS)
echo "build/release: $version, ${#targets[@]} binaries, each built twice to the same bytes"
