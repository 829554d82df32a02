"""A shared folder on EFS: its mount helper, and which of its mount targets answers."""

from __future__ import annotations

import shutil
import socket
import tempfile
import time
from pathlib import Path

from agent import bootstrap, limits
from agent.delivery.download import Download
from agent.failures import Failure
from agent.folders import nfs
from agent.machine import packages, systemd
from agent.machine.commands import Completed, run
from agent.node import Node
from agent.specification import Efs, MountHelper

PAUSE_SECONDS = 10
HELPER = Path("/sbin/mount.efs")
CHUNK = 2**20
INSTALLER = "https://amazon-efs-utils.aws.com/efs-utils-installer.sh"


def require_helper(node: Node, share: Efs) -> None:
    """Install the mount helper where the image has none.

    Raises Failure EfsUtilsMissing, and EfsUtilsChecksumMismatch where the package is not the one that was named.
    """
    end = time.monotonic() + limits.PATIENCE
    while not HELPER.exists():
        done = _install(node, share.mount_helper)
        if HELPER.exists():
            return
        if time.monotonic() > end:
            raise Failure("EfsUtilsMissing", "amazon-efs-utils cannot be installed", done.tail())
        # Updates of the system's own hold the package manager for minutes after a boot.
        print(f"waiting: amazon-efs-utils: {' '.join(done.tail()[-1:])}", flush=True)
        time.sleep(PAUSE_SECONDS)


def _install(node: Node, helper: MountHelper | None) -> Completed:
    """The package that was named, and no other; else the distribution's, whose signature its manager checks.

    Ubuntu has neither: AWS's own installer comes last, whole before it runs, and its checksum is in the log.
    """
    if helper is None and shutil.which("dnf"):
        return packages.install("amazon-efs-utils")
    with tempfile.TemporaryDirectory() as folder:
        if helper is not None:
            file = Path(folder, "amazon-efs-utils").with_suffix(Path(helper.source).suffix)
            got = _fetch(node, helper.source, file)
            if got != helper.sha256:
                raise Failure(
                    "EfsUtilsChecksumMismatch",
                    f"{helper.source} has the SHA-256 {got}, not {helper.sha256}; it was not installed",
                )
            return packages.install(str(file))
        file = Path(folder, "installer.sh")
        print(f"amazon-efs-utils: running {INSTALLER}, SHA-256 {_fetch(node, INSTALLER, file)}")
        return run(["sh", str(file), "--install"], seconds=900)


def _fetch(node: Node, source: str, file: Path) -> str:
    """Store a file, and return its SHA-256."""
    content = Download(source, node.site.open_release)
    with file.open("wb") as written:
        while chunk := content.read(CHUNK):
            written.write(chunk)
    return content.hexdigest()


def mount(node: Node, share: Efs) -> Completed:
    """Try each address once, until one is mounted; the last attempt."""
    for address in _addresses(node, share):
        done = _attempt(share, address)
        if systemd.mounted(share.path) is not None:
            break
    return done


def server_answers(share: Efs) -> bool:
    """Whether a mount target of the file system is at work; without TLS and IAM one says no more than that."""
    return any(map(nfs.answers, [_name(share), *share.mount_targets.values()]))


def is_known(name: str) -> bool:
    """Whether the resolver knows a host's name."""
    try:
        return bool(socket.getaddrinfo(name, nfs.PORT))
    except OSError:
        return False


def _addresses(node: Node, share: Efs) -> list[str | None]:
    """What to try: the name where it is known already (None), else the zone's own address, then the others."""
    if is_known(_name(share)):
        return [None]
    targets = dict(share.mount_targets)
    own = targets.pop(node.instance["zone"], None)
    return [*([own] if own else []), *targets.values()] or [None]


def _name(share: Efs) -> str:
    """The file system's name, which leads to the mount target of the machine's own zone."""
    return f"{share.file_system}.efs.{share.region}.{bootstrap.domain(share.region)}"


def _attempt(share: Efs, address: str | None) -> Completed:
    options = "_netdev,tls,iam" + (f",mounttargetip={address}" if address else "")
    what = f"{share.file_system}:/"
    return systemd.mount(
        share.path, what, "efs", options, "remote-fs.target", systemd.AFTER_NETWORK
    )
