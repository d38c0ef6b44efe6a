"""Run a command on a stock Debian kernel: python scripts/kernels [--suite SUITE] -- COMMAND..."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

import machine
import packages


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/kernels", description=__doc__)
    parser.add_argument("--suite", default="bookworm", help="of Debian: bookworm has 6.1, trixie 6.12")
    parser.add_argument("--refresh", action="store_true", help="fetch the kernel again")
    parser.add_argument("--seconds", type=int, default=1800, help="limit of the whole run")
    parser.add_argument("command", nargs="+")
    asked = parser.parse_args()
    try:
        kernel = packages.kernel(asked.suite, refresh=asked.refresh)
    except subprocess.CalledProcessError as e:
        print(f"the kernel of {asked.suite} cannot be fetched: {' '.join(map(str, e.cmd))}", file=sys.stderr)
        return machine.NOT_BOOTED
    print(f"Linux {kernel.release} of Debian {kernel.suite}: {' '.join(asked.command)}", file=sys.stderr)
    start = time.monotonic()
    status = machine.run(kernel, asked.command, seconds=asked.seconds)
    print(
        f"Linux {kernel.release}: exit status {status} after {time.monotonic() - start:.0f} s",
        file=sys.stderr,
    )
    return status


if __name__ == "__main__":
    sys.exit(main())
