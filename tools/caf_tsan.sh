#!/bin/bash
# tools/caf_tsan.sh
#
# Builds CAF's core with the thread sanitizer into build/caf-tsan/prefix, from the sources of Debian's package. Under the
# thread sanitizer Debian's own libcaf_core makes correct programs look racy, because its synchronisation is not seen.
# Does nothing when it is already there.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case "${1:-}" in -h | --help) usage; exit 0 ;; esac
work="$ROOT/build/caf-tsan"
[ -f "$work/prefix/lib/libcaf_core.so" ] && exit 0

need_packages
mkdir -p "$work/lists/partial" "$work/cache" "$work/source" "$work/build"
cd "$work"

# Source packages by a list of our own, so that the machine's list of sources stays as it is.
mirror="${PASSEL_DEBIAN_MIRROR:-http://deb.debian.org/debian}"
printf 'deb-src %s bookworm main\n' "$mirror" >sources.list
apt=(apt-get -q -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
  -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User="$(id -un)")
"${apt[@]}" update
"${apt[@]}" source --download-only --tar-only actor-framework
tar -C source --strip-components=1 -xf actor-framework_*.orig.tar.gz

cmake -S source -B build -G Ninja -Wno-dev -DCMAKE_BUILD_TYPE=RelWithDebInfo \
  -DCMAKE_CXX_FLAGS='-fsanitize=thread -O1 -g1' -DCMAKE_CXX_FLAGS_RELWITHDEBINFO='' \
  -DCMAKE_CXX_COMPILER_LAUNCHER=ccache -DCMAKE_INSTALL_PREFIX="$work/prefix" \
  -DCAF_NO_EXAMPLES=ON -DCAF_NO_UNIT_TESTS=ON -DCAF_NO_IO=ON -DCAF_NO_OPENSSL=ON -DCAF_NO_TOOLS=ON \
  -DCAF_NO_SUMMARY=ON
cmake --build build --parallel "$JOBS"
cmake --install build
