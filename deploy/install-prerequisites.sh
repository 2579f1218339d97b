#!/bin/sh
# install-prerequisites.sh [e2e]
#
# Brings what the build and the local stack need from the machine: Java 17, Maven, Python 3 with venv, a C toolchain with make and
# pkg-config, headers of OpenSSL and zlib, xz. With `e2e`: what the cluster of the end-to-end tests needs.
#
# All there: says nothing and ends at once. Something missing: installs it where we are root on Debian or Ubuntu, else names the
# packages in one line and ends with 1.
set -eu

missing=
lacks() { missing="$missing $1"; }
has() { command -v "$1" >/dev/null 2>&1; }

# Programs of the cluster; the rest of it is built (deploy/e2e).
for_cluster() {
    has containerd && has ctr || lacks containerd
    has runc || lacks runc
    [ -x /usr/lib/cni/bridge ] && [ -x /usr/lib/cni/host-local ] || lacks containernetworking-plugins
    has ip || lacks iproute2
    has nft || lacks nftables
    has socat || lacks socat # kubectl port-forward
    has unshare && has nsenter && has flock && has setpriv || lacks util-linux
    has openssl || lacks openssl
    has python3 || lacks python3
    has cc || lacks build-essential
}

for_build() {
    java_home=${JAVA_HOME:-/nonexistent}
    java=java
    [ -x "$java_home/bin/java" ] && java=$java_home/bin/java
    java_version() { "$java" -version 2>&1 | sed -n 's/.*version "\(1\.\)\{0,1\}\([0-9]*\).*/\2/p'; }
    java_is_new() { has "$java" && [ "$(java_version || true)" -ge 17 ] 2>/dev/null; }
    java_is_new || lacks openjdk-17-jre-headless

    has mvn || lacks maven
    has python3 || lacks python3
    # Debian splits the part of venv that makes one usable into a package of its own.
    python3 -c 'import venv, ensurepip' 2>/dev/null || lacks python3-venv
    has cc && has c++ || lacks build-essential
    has make || lacks make
    has pkg-config || lacks pkg-config
    has xz || lacks xz-utils

    # What the compiler can find, not where one distribution puts it.
    header() { printf '#include <%s>\n' "$1" | cc -E -x c - >/dev/null 2>&1; }
    if has cc; then
        header openssl/ssl.h || lacks libssl-dev
        header zlib.h || lacks zlib1g-dev
    else
        lacks libssl-dev
        lacks zlib1g-dev
    fi
}

case "${1:-}" in
"") for_build ;;
e2e) for_cluster ;;
*)
    echo "usage: $0 [e2e]" >&2
    exit 64
    ;;
esac

[ -z "$missing" ] && exit 0

if [ "$(id -u)" != 0 ] || ! has apt-get; then
    echo "missing on this machine:$missing (Debian, Ubuntu: sudo apt-get install$missing)" >&2
    exit 1
fi

echo "installing:$missing" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -q >/dev/null
case "$missing" in
*openjdk-17*)
    # Newer releases have a newer Java only.
    apt-cache show openjdk-17-jre-headless >/dev/null 2>&1 ||
        missing=$(echo "$missing" | sed 's/openjdk-17-jre-headless/default-jre-headless/')
    ;;
esac
# shellcheck disable=SC2086 -- one word a package
apt-get install -q -y --no-install-recommends $missing >/dev/null
