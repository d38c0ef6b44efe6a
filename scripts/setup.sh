#!/bin/sh
# Install what a bare Debian 12 lacks, then make the virtual environment $1. "kernels": also what boots
# other kernels. Idempotent: a package that is there is not asked for again.
set -eu
venv=${1:?usage: setup.sh VENV [kernels]}

wanted="python3-venv python3-bpfcc linux-libc-dev iptables nftables ipset iproute2 ethtool conntrack procps xdp-tools"
[ "${2:-}" != kernels ] || wanted="$wanted qemu-system-x86 busybox-static kmod"

missing=
for package in $wanted; do
    dpkg-query -W -f='${Status}\n' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
if [ -n "$missing" ]; then
    if [ "$(id -u)" -ne 0 ]; then
        echo "setup: these packages are missing:$missing" >&2
        echo "setup: run this as root, or: apt-get install --no-install-recommends$missing" >&2
        exit 1
    fi
    apt-get update -qq
    # shellcheck disable=SC2086  # a list of words on purpose
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
fi

# The system's Python, not one found first on PATH: only it sees Debian's python3-bpfcc.
[ -x "$venv/bin/python" ] || /usr/bin/python3 -m venv --system-site-packages "$venv"
"$venv/bin/python" -m pip install -q --disable-pip-version-check -e '.[dev]'
