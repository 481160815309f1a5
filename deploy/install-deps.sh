#!/usr/bin/env bash
# Installs what Tillstream needs on Debian 12 or 13, and only what is missing.
#
#   deploy/install-deps.sh [--run] [--build] [--test] [--demo]
#
#   --run    to run it: PostgreSQL, nats-server, time zones
#   --build  to build it as well (the default)
#   --test   to run its tests as well
#   --demo   to run deploy/cluster-demo.sh as well: a balancer
#
# Needs root or sudo when a package is missing; else it touches nothing and
# ends at once. Starts no service and creates no database cluster.
set -euo pipefail

# Debian 12's nats-server has a known hole and cannot flush often; this is the
# oldest that we would rather have, and the release that has it.
readonly nats_wanted=2.10
readonly nats_release=trixie
readonly debian_keys=/usr/share/keyrings/debian-archive-keyring.gpg

work_dir=

say() {
  printf '==> %s\n' "$*"
}

warn() {
  printf 'warning: %s\n' "$*" >&2
}

die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

usage() {
  sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo > /dev/null; then
    sudo "$@"
  else
    die "this needs root (or sudo): $*"
  fi
}

clean_up() {
  if [ -n "$work_dir" ]; then
    rm -rf -- "$work_dir"
  fi
}
trap clean_up EXIT

# -- packages ------------------------------------------------------------------

codename() {
  # shellcheck source=/dev/null
  (. /etc/os-release && printf '%s\n' "${VERSION_CODENAME:-unknown}")
}

run_packages() {
  # curl is for the first sale, which `tillstream up` prints to be pasted.
  printf '%s\n' ca-certificates curl postgresql tzdata
}

build_packages() {
  printf '%s\n' g++ cmake ninja-build ccache pkg-config libcaf-dev \
    libpqxx-dev libnats-dev libsimdjson-dev libfmt-dev \
    libhowardhinnant-date-dev libzstd-dev libssl-dev zlib1g-dev
  # Debian 12's default, 1.74, lacks fixes that the HTTP edge relies on.
  local version=
  if [ "$(codename)" = bookworm ]; then
    version=1.81
  fi
  printf '%s\n' "libboost${version}-dev" "libboost-test${version}-dev" \
    "libboost-program-options${version}-dev"
}

test_packages() {
  printf '%s\n' jq libbenchmark-dev procps python3 universal-ctags zstd \
    chromium fonts-inter
  # Where Node.js came another way, its package would not fit beside it.
  command -v node > /dev/null || printf '%s\n' nodejs
  command -v npm > /dev/null || printf '%s\n' npm
}

demo_packages() {
  printf '%s\n' curl haproxy jq procps
}

is_installed() {
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2> /dev/null)" = installed ]
}

only_missing() {
  local package
  while read -r package; do
    is_installed "$package" || printf '%s\n' "$package"
  done
}

apt_install() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
    --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"
}

# The distribution would create and start a cluster of its own. That is switched
# off while we install, and left as it was afterwards.
install_without_cluster() {
  local conf=/etc/postgresql-common/createcluster.conf
  apt_install postgresql-common
  as_root cp -p "$conf" "$conf.tillstream"
  as_root sh -c "echo 'create_main_cluster = false' >> '$conf'"
  local status=0
  install_without_service "$@" || status=$?
  as_root mv "$conf.tillstream" "$conf"
  return "$status"
}

# A balancer's package starts a service. Services stay as they are while it is
# installed, unless somebody set a policy of their own.
install_without_service() {
  local policy=/usr/sbin/policy-rc.d status=0
  if [ -e "$policy" ]; then
    apt_install "$@"
    return
  fi
  as_root sh -c "printf '#!/bin/sh\nexit 101\n' > '$policy'"
  as_root chmod 755 "$policy"
  apt_install "$@" || status=$?
  as_root rm -f -- "$policy"
  return "$status"
}

install_packages() {
  local missing=("$@")
  [ "${#missing[@]}" -gt 0 ] || return 0
  command -v apt-get > /dev/null \
    || die "apt-get is missing here; install by other means: ${missing[*]}"
  say "Installing ${missing[*]}"
  as_root apt-get update -qq -o DPkg::Lock::Timeout=300
  case " ${missing[*]} " in
    *" postgresql "*) install_without_cluster "${missing[@]}" ;;
    *) install_without_service "${missing[@]}" ;;
  esac
}

# -- nats-server ---------------------------------------------------------------
# A single static program, kept in a directory of our own: the package would
# start a service that nobody asked for. `tillstream up` looks there.

tools_dir() {
  if [ "$(id -u)" -eq 0 ]; then
    printf '%s\n' /var/lib/tillstream/tools
  else
    printf '%s\n' "${XDG_DATA_HOME:-$HOME/.local/share}/tillstream/tools"
  fi
}

# Prints `2.10` for a program that answers `nats-server: v2.10.27`.
nats_version() {
  "$1" --version 2> /dev/null | sed -nE 's/^.*: v([0-9]+\.[0-9]+).*/\1/p'
}

is_new_enough() {
  local version
  version=$(nats_version "$1") || return 1
  [ -n "$version" ] \
    && [ "$(printf '%s\n' "$nats_wanted" "$version" | sort -V | head -n 1)" \
      = "$nats_wanted" ]
}

# The address of this machine's own Debian mirror.
debian_mirror() {
  # shellcheck disable=SC2016 # apt's own variables
  apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' \
    'Created-By: Packages' | sed -n 's/^Debian|Debian|//p' | head -n 1
}

# Runs apt-get with sources, lists and cache of our own, so that this machine's
# stay as they are. Signatures are checked as ever.
private_apt() {
  apt-get -qq \
    -o "Dir::Etc::sourcelist=$work_dir/sources.list" \
    -o Dir::Etc::sourceparts=/dev/null \
    -o Dir::Etc::preferences=/dev/null \
    -o Dir::Etc::preferencesparts=/dev/null \
    -o "Dir::State=$work_dir/state" \
    -o "Dir::State::status=$work_dir/status" \
    -o "Dir::Cache=$work_dir/cache" \
    -o Acquire::Languages=none \
    -o Acquire::Retries=2 \
    "$@"
}

prepare_private_apt() {
  local mirror
  mirror=$(debian_mirror)
  if [ -z "$mirror" ] || [ ! -r "$debian_keys" ]; then
    return 1
  fi
  mkdir -p "$work_dir/state/lists/partial" "$work_dir/cache/archives/partial"
  : > "$work_dir/status"
  printf 'deb [signed-by=%s] %s %s main\n' "$debian_keys" "$mirror" \
    "$nats_release" > "$work_dir/sources.list"
  private_apt update
}

# Takes nats-server out of the package that lies in the working directory.
unpack_nats_server() {
  local target=$1 package
  for package in "$work_dir"/nats-server_*.deb; do
    dpkg-deb -x "$package" "$work_dir/unpacked"
  done
  local program
  program=$(find "$work_dir/unpacked" -type f -name nats-server -perm -u+x)
  [ -n "$program" ] || return 1
  "$program" --version > /dev/null || return 1
  mkdir -p "$target"
  chmod 755 "$target"
  install -m 755 "$program" "$target/.nats-server.new"
  mv "$target/.nats-server.new" "$target/nats-server"
}

fetch_newer() {
  prepare_private_apt \
    && (cd "$work_dir" && private_apt download nats-server) \
    && unpack_nats_server "$1"
}

fetch_own() {
  rm -rf "$work_dir/unpacked" "$work_dir"/nats-server_*.deb
  (cd "$work_dir" \
    && { apt-get -qq download nats-server 2> /dev/null \
      || { as_root apt-get update -qq && apt-get -qq download nats-server; }; }) \
    && unpack_nats_server "$1"
}

install_nats_server() {
  local target program
  target=$(tools_dir)
  for program in "$target/nats-server" /var/lib/tillstream/tools/nats-server \
    "$(command -v nats-server || true)" /usr/sbin/nats-server; do
    if [ -x "$program" ] && is_new_enough "$program"; then
      return 0
    fi
  done
  # What could not be had once is not tried again at each start; remove the
  # directory to make it so.
  if [ -x "$target/nats-server" ]; then
    return 0
  fi
  say "Fetching nats-server $nats_wanted into $target"
  work_dir=$(mktemp -d)
  if [ "$(id -u)" -eq 0 ]; then
    # As root, apt fetches as an account without rights.
    chown _apt "$work_dir"
  fi
  if fetch_newer "$target"; then
    return 0
  fi
  warn "nats-server $nats_wanted could not be had; taking the distribution's" \
    "own. Before 2.10.27 it has a known hole (CVE-2025-30215)."
  if [ -x /usr/sbin/nats-server ] || command -v nats-server > /dev/null; then
    return 0
  fi
  fetch_own "$target" || die "no nats-server could be had"
}

# -- the page's tests ----------------------------------------------------------
# Playwright's driver and axe, at the versions that the lock file names. They
# bring no browser of their own.

install_page_test_modules() {
  local dir
  dir=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../tests/web" && pwd)
  local done_mark="$dir/node_modules/.package-lock.json"
  if [ -e "$done_mark" ] && [ ! "$dir/package-lock.json" -nt "$done_mark" ]; then
    return 0
  fi
  say "Installing what the page's tests use"
  (cd -- "$dir" && npm ci --ignore-scripts --no-audit --no-fund --silent) \
    || die "npm could not install what the page's tests use"
  touch "$done_mark"
}

# -- what is asked for ---------------------------------------------------------

main() {
  local with_build=false with_test=false with_demo=false argument
  [ "$#" -gt 0 ] || with_build=true
  for argument in "$@"; do
    case "$argument" in
      --run) ;;
      --build) with_build=true ;;
      --test) with_test=true ;;
      --demo) with_demo=true ;;
      -h | --help) usage && exit 0 ;;
      *) usage >&2 && exit 2 ;;
    esac
  done
  local wanted missing
  wanted=$(
    run_packages
    ! "$with_build" || build_packages
    ! "$with_test" || test_packages
    ! "$with_demo" || demo_packages
  )
  mapfile -t missing < <(only_missing <<< "$wanted")
  install_packages "${missing[@]}"
  install_nats_server
  ! "$with_test" || install_page_test_modules
}

main "$@"
