#!/usr/bin/env bash
# Installs what the demo and the tests need from the distribution's packages, if anything is missing and we
# may, and the browser tests' two packages from npm. Fast and silent when everything is there.
# `setup.sh demo` asks for less than `setup.sh test`, and `setup.sh bench` for more.
set -euo pipefail
purpose="${1:-test}"

# Each line: a file that shows the package is there (a glob), and the package.
needs_demo=(
    "/usr/sbin/dockerd docker.io"
    "/usr/bin/containerd containerd"
    "/usr/sbin/ip|/bin/ip|/usr/bin/ip iproute2"
    "/usr/sbin/iptables iptables"
    "/bin/busybox|/usr/bin/busybox busybox-static"
    "/usr/bin/docker-registry docker-registry"
    "/usr/bin/git|/usr/local/bin/git git"
    "/usr/bin/setpriv util-linux"
    "/usr/bin/cc gcc"
    "/etc/ssl/certs/ca-certificates.crt ca-certificates"
)
needs_test=(
    "/usr/bin/docker docker.io"
    "/usr/lib/postgresql/*/bin/postgres postgresql"
    "/usr/lib/rabbitmq/bin/rabbitmq-server rabbitmq-server"
    "/usr/bin/openssl openssl"
    "/usr/bin/redis-server redis-server"
    "/usr/sbin/nginx nginx-light"
    "/usr/bin/caddy caddy"
    "/usr/bin/sqlite3 sqlite3"
    "/usr/bin/systemd-analyze systemd"
    "/usr/sbin/debootstrap debootstrap"
    "/usr/bin/chromium chromium"
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc fonts-noto-cjk"
    "/usr/bin/node|/usr/local/bin/node nodejs"
    "/usr/bin/npm|/usr/local/bin/npm npm"
)

needs_bench=(
    "/usr/bin/rg ripgrep"
    "/usr/bin/zstd zstd"
)

is_there() {
    local alternatives pattern
    IFS='|' read -ra alternatives <<<"$1"
    for pattern in "${alternatives[@]}"; do
        compgen -G "$pattern" >/dev/null && return 0
    done
    return 1
}

needs=("${needs_demo[@]}")
[ "$purpose" = demo ] || needs+=("${needs_test[@]}")
[ "$purpose" != bench ] || needs+=("${needs_bench[@]}")
missing=()
for need in "${needs[@]}"; do
    is_there "${need% *}" || missing+=("${need##* }")
done
if [ ${#missing[@]} -gt 0 ]; then
    mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
fi

if ! command -v cargo >/dev/null; then
    echo "setup: cargo is not on the path; install Rust 1.95 or newer with rustup (https://rustup.rs)" >&2
    exit 1
fi
install_packages() {
    if ! command -v apt-get >/dev/null; then
        echo "setup: this is not Debian. Install the equivalents of: ${missing[*]}" >&2
        [ "${REQUIRE_BACKENDS:-0}" != 1 ] || exit 1
        [ "$purpose" != demo ] || exit 1
        return 0
    fi
    if [ "$(id -u)" -ne 0 ]; then
        echo "setup: missing packages; as root: apt-get install --no-install-recommends ${missing[*]}" >&2
        [ "${REQUIRE_BACKENDS:-0}" != 1 ] || exit 1
        [ "$purpose" != demo ] || exit 1
        return 0
    fi

    echo "setup: installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    # The packages' own services would take well-known ports; ours are started by the tests. An existing
    # policy is somebody's wish and stays.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
        trap 'rm -f "$policy"' EXIT
    fi
    # The packages' list may be as old as the machine.
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# What tests/browser/package-lock.json names; npm writes its own copy of it last.
install_node_modules() {
    local folder
    folder="$(dirname "$0")/../browser"
    [ "$folder/node_modules/.package-lock.json" -nt "$folder/package-lock.json" ] && return 0
    command -v npm >/dev/null || return 0
    echo "setup: npm ci in tests/browser"
    if ! npm ci --prefix "$folder" --no-audit --no-fund --loglevel=error >/dev/null; then
        echo "setup: the browser tests' packages were not installed" >&2
        [ "${REQUIRE_BACKENDS:-0}" != 1 ] || exit 1
    fi
}

[ ${#missing[@]} -eq 0 ] || install_packages
[ "$purpose" = demo ] || install_node_modules
