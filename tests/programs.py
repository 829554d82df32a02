"""Installs the programs that some tests run for real and this computer lacks: `make test` begins with it.

Only as root of a Debian or Ubuntu; else, and in `make check`, tests that lack one are skipped, and say so.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from sandbox.machines import image
from sandbox.machines.commands import MachineError

PACKAGES = {
    "caddy": "caddy",
    "growpart": "cloud-guest-utils",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "redis-server": "redis-server",
    "sfdisk": "fdisk",
    "wg": "wireguard-tools",
    "wireguard-go": "wireguard-go",
    "zstd": "zstd",
}
POSTGRES = Path("/usr/lib/postgresql")


def missing() -> list[str]:
    """The packages of which a program is missing."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    found = {package for name, package in PACKAGES.items() if not shutil.which(name, path=path)}
    if not any(POSTGRES.glob("*/bin/initdb")):
        found.add("postgresql")
    return sorted(found)


def main() -> None:
    """Install what is missing, or tell in one line what to install; the tests go on either way."""
    packages = missing()
    if not packages:
        return
    advice = f"some tests will be skipped; for all of them: apt install {' '.join(packages)}"
    if os.geteuid() or not shutil.which("apt-get"):
        print(advice, file=sys.stderr)
        return
    try:
        image.install(packages, lambda line: print(line, flush=True))
    except MachineError as error:
        print(f"{error}; {advice}", file=sys.stderr)


if __name__ == "__main__":
    main()
