#!/bin/sh
# install-deps.sh [--test | --ci] - what building tidegate needs, on Debian 12 and Ubuntu 24.04; with --test also
# what its tests need (a Python environment and Node.js packages, both below build/), with --ci clang and its tools.
#
# Touches nothing when all is there, so it needs neither root nor network the second time. What is missing it
# installs through apt, with sudo where it is not root.
set -eu
cd "$(dirname "$0")/.."

build_packages="gcc cmake ninja-build pkg-config protobuf-c-compiler libc6-dev libsqlite3-dev
	libmicrohttpd-dev libprotobuf-c-dev libcurl4-gnutls-dev libjansson-dev zlib1g-dev
	libnghttp2-dev libgnutls28-dev libyaml-dev libzstd-dev libsnappy-dev check"
run_packages="curl sqlite3 python3 ca-certificates"
test_packages="python3-venv nodejs npm golang-go faketime"
# Of one version, which both distributions have: another clang-format lays code out otherwise, another clang-tidy
# finds other things, and Ubuntu's default is 18.
ci_packages="clang-14 clang-format-14 clang-tidy-14 libclang-rt-14-dev llvm-14 shellcheck"

say() { printf '%s\n' "$*" >&2; }

is_installed() {
	[ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ] && return
	# Another flavour of libcurl will do, and a tool may come from elsewhere than apt.
	case $1 in
	libcurl4-gnutls-dev) pkg-config --exists libcurl 2>/dev/null ;;
	libclang-rt-14-dev) [ -d "$(clang-14 --print-resource-dir 2>/dev/null)/lib" ] ;;
	llvm-14) command -v llvm-symbolizer-14 >/dev/null ;;
	nodejs) command -v node >/dev/null ;;
	golang-go) command -v go >/dev/null ;;
	prometheus) command -v prometheus >/dev/null ;;
	npm | cmake | clang-* | shellcheck | sqlite3 | curl | python3) command -v "$1" >/dev/null ;;
	python3-venv) python3 -c 'import venv, ensurepip' 2>/dev/null ;;
	*) false ;;
	esac
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		say "install-deps: that takes root, and there is no sudo; run as root, and then this again:
  apt-get update && apt-get install -y --no-install-recommends$missing"
		exit 1
	fi
}

# A machine that has just been started may be busy with upgrades of its own for a while, and holds the lock.
apt_get() {
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@"
}

install_packages() {
	missing=
	for package in "$@"; do
		is_installed "$package" || missing="$missing $package"
	done
	[ -n "$missing" ] || return 0
	if ! command -v apt-get >/dev/null; then
		say "install-deps: this is neither Debian nor Ubuntu; install what corresponds to:$missing"
		exit 1
	fi
	say "install-deps: installing$missing"
	# One broken source among the machine's own need not concern us.
	apt_get update || say "install-deps: apt-get update failed; going on with the package lists that are there"
	# $missing is a list of words.
	# shellcheck disable=SC2086
	apt_get install -y --no-install-recommends $missing >/dev/null
}

# The tests start a Prometheus of their own: the package's service must not run because of them.
install_prometheus() {
	if is_installed prometheus; then
		return
	fi
	missing=" prometheus"
	if command -v systemctl >/dev/null; then
		as_root systemctl mask --quiet prometheus 2>/dev/null || true
	fi
	install_packages prometheus
	if command -v systemctl >/dev/null; then
		as_root systemctl unmask --quiet prometheus 2>/dev/null || true
		as_root systemctl disable --quiet prometheus 2>/dev/null || true
	fi
}

# The stamp of a step holds what it was made from: the step runs again when that changes.
is_fresh() { # stamp, source...
	stamp=$1
	shift
	[ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(cat "$@" | cksum)" ]
}

python_environment() {
	stamp=build/venv/.installed
	is_fresh $stamp tests/requirements.txt && return
	say "install-deps: making the Python environment build/venv"
	mkdir -p build
	[ -x build/venv/bin/python3 ] || python3 -m venv build/venv
	build/venv/bin/python3 -m pip install -q --disable-pip-version-check -r tests/requirements.txt
	cksum <tests/requirements.txt >"$stamp"
}

# Clients in other languages: each folder of tests/interop with a package.json is installed to build/interop.
node_parts() {
	for source in tests/interop/*/package.json; do
		[ -f "$source" ] || continue
		name=$(basename "$(dirname "$source")")
		target=build/interop/$name
		stamp=$target/.installed
		is_fresh "$stamp" "$source" && continue
		say "install-deps: installing the Node.js packages of $(dirname "$source")"
		mkdir -p "$target"
		cp "$(dirname "$source")"/package*.json "$target"
		lock=install
		[ -f "$target/package-lock.json" ] && lock=ci
		(cd "$target" && npm $lock --silent --no-audit --no-fund --no-progress)
		cksum <"$source" >"$stamp"
	done
}

# The client in Go is built once, to build/interop/go/client. Its modules need Go 1.19 or later.
go_parts() {
	stamp=build/interop/go/.installed
	is_fresh $stamp tests/interop/go/* && return
	say "install-deps: building the Go client of tests/interop/go"
	mkdir -p build/interop/go
	# Downloaded first, which says less than the same done by go build.
	(cd tests/interop/go && export GOTOOLCHAIN=local && go mod download && go build -o ../../../build/interop/go/client .)
	cat tests/interop/go/* | cksum >"$stamp"
}

# shellcheck disable=SC2086
install_packages $build_packages $run_packages
case ${1:-} in
--test | --ci)
	# shellcheck disable=SC2086
	install_packages $test_packages
	install_prometheus
	python_environment
	node_parts
	go_parts
	;;
esac
# shellcheck disable=SC2086
[ "${1:-}" != --ci ] || install_packages $ci_packages
