#!/bin/sh
# headers.sh [11.8|12|13] prepares what building with -tags cuda needs besides Go
# and a C compiler: the header cuda.h, and flags. It uses the toolkit in CUDA_HOME or
# /usr/local/cuda if there is one and no version is asked for; else it fetches
# NVIDIA's header of that version (12 by default) from PyPI. Then it writes
# build/cuda/env, to be sourced by the shell that builds:
#
#	. build/cuda/env && go build -tags cuda ./...
#
# BUILD=DIR puts everything in DIR (relative to the repository) instead of
# build/cuda.
set -eu
cd "$(dirname "$0")/.."
root=$(pwd)
build=${BUILD:-build/cuda}
mkdir -p "$build"
build=$(cd "$build" && pwd)
version=${1:-}
toolkit=${CUDA_HOME:-/usr/local/cuda}

# fetch REQUIREMENT SHA256 leaves the wheel's cuda.h in $build/include. The header
# is the same for all processors, so the wheel for one serves them all.
fetch() {
	if [ "$(cat "$build/include/origin" 2>/dev/null)" = "$1" ]; then
		return
	fi
	rm -rf "$build/include" "$build/wheel"
	mkdir -p "$build/include" "$build/wheel"
	echo "$1 --hash=sha256:$2" >"$build/wheel/requirements.txt"
	if ! python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
		--platform manylinux2014_x86_64 --require-hashes -r "$build/wheel/requirements.txt" -d "$build/wheel"; then
		echo "headers.sh: could not fetch $1 from PyPI; install the CUDA toolkit and set CUDA_HOME instead" >&2
		exit 1
	fi
	python3 - "$build/wheel" "$build/include/cuda.h" <<-'PYTHON'
		import glob, sys, zipfile

		(wheel,) = glob.glob(sys.argv[1] + "/*.whl")
		with zipfile.ZipFile(wheel) as archive:
		    (header,) = [name for name in archive.namelist() if name.endswith("/include/cuda.h")]
		    with open(sys.argv[2], "wb") as out:
		        out.write(archive.read(header))
	PYTHON
	rm -rf "$build/wheel"
	echo "$1" >"$build/include/origin"
}

if [ -z "$version" ] && [ -f "$toolkit/include/cuda.h" ]; then
	include=$toolkit/include
else
	include=$build/include
	case ${version:-12} in
	11.8) fetch nvidia-cuda-runtime-cu11==11.8.89 92d04069a987e1fbc9213f8376d265df0f7bb42617d44f5eda1f496acea7f2d1 ;;
	12) fetch nvidia-cuda-runtime-cu12==12.9.79 25bba2dfb01d48a9b59ca474a1ac43c6ebf7011f1b0b8cc44f54eb6ac48a96c3 ;;
	13) fetch nvidia-cuda-runtime==13.0.96 7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548 ;;
	*)
		echo "headers.sh: there is no version $version; choose 11.8, 12 or 13" >&2
		exit 2
		;;
	esac
fi

# gorgonia.org/cu links with -lcuda. The functions are those of
# cuda/internal/driver, so an empty library will do; --as-needed is for machines
# where the linker finds the driver's.
mkdir -p "$build/lib"
rm -f "$build/lib/libcuda.a"
ar rcs "$build/lib/libcuda.a"

cat >"$build/env" <<END
export CGO_ENABLED=1
export CGO_CFLAGS="-O2 -g -I$root/cuda/compat -I$include"
export CGO_LDFLAGS="-L$build/lib -Wl,--as-needed"
export BROOD_CUDA_INCLUDE="$include"
END
echo "headers.sh: cuda.h from $include; now: . $build/env"
