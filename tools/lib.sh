# shellcheck shell=bash
# Tools: what the scripts here share. Sourced, never run.
#
# Everything a script needs it gets by itself, so that a fresh Debian 12 with a clone of this repository is enough:
# packages from tools/packages.txt by apt-get, then a configured and built tree under build/<preset>.

set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
JOBS="${PASSEL_JOBS:-$(nproc)}"
# The same sources in another directory are the same to ccache.
export CCACHE_BASEDIR="$ROOT" CCACHE_NOHASHDIR=1

say() { printf '%s\n' "$*" >&2; }

die() {
  say "${0##*/}: $*"
  exit 1
}

# Prints the header comment of the calling script: its help.
usage() { sed -n '2,/^[^#]/{/^#/!q;s/^# \{0,1\}//;p}' "$0"; }

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo --preserve-env=DEBIAN_FRONTEND "$@"
  else
    die "installing packages needs root or sudo, and there is neither; wanted: $*"
  fi
}

listed_packages() { sed -e 's/#.*//' -e 's/[[:space:]]//g' -e '/^$/d' "$ROOT/tools/packages.txt"; }

# Names the packages of the list that are not installed.
missing_packages() {
  local package
  for package in $(listed_packages); do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
      printf '%s\n' "$package"
  done
}

# Installs what is missing of tools/packages.txt; touches nothing when nothing is.
need_packages() {
  command -v apt-get >/dev/null || die "apt-get is missing: these scripts are made for Debian 12 (see tools/packages.txt)"
  local missing
  mapfile -t missing < <(missing_packages)
  [ "${#missing[@]}" -eq 0 ] && return
  say "installing: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  as_root apt-get update -qq >&2 || die "apt-get update failed"
  as_root apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2 ||
    die "could not install: ${missing[*]}"
}

# configure PRESET [cmake option...]
configure() {
  local preset="$1"
  shift
  cmake -S "$ROOT" --preset "$preset" -Wno-dev "$@" ||
    die "configuring preset $preset failed"
}

# build PRESET [target...]
build() {
  local preset="$1"
  shift
  cmake --build "$ROOT/build/$preset" --parallel "$JOBS" ${1:+--target "$@"} ||
    die "building preset $preset failed"
}
