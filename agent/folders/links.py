"""Links in the shared folder, which others write to: none leads a mount of Docker's to another place on this machine.

Docker follows a link in the place of the folder that it mounts into a container. So it is mounted `nosymfollow`:
nobody follows any link in it, and such a container does not start. Containers inherit that, and links that users make
would be dead in them. So what containers mount of it is pinned: bound over itself, open to links again. The kernel
looks for it in the folder that follows none, so what is pinned never is what a link names.
"""

from __future__ import annotations

import re
import shutil
from typing import Iterator, Sequence

from agent.folders import node_folder, shared_files
from agent.machine import systemd
from agent.machine.commands import run
from agent.node import Node
from agent.specification import MountedPath, SharedFolder

CLOSED = "nosymfollow"
UNIT_NAME = "graphistry-cluster-links.service"
UNIT = """# graphistry-cluster
[Unit]
Description=Graphistry cluster: no link in the shared folder leads elsewhere
After={after}
Before=docker.service

[Service]
Type=oneshot
RemainAfterExit=yes
TimeoutStartSec=90
{commands}

[Install]
WantedBy=multi-user.target
"""
"""For boots, at which Docker starts containers before the agent looks. The folder's own unit cannot do it: mount
helpers take no such option."""


def pins(node: Node) -> list[str]:
    """What containers mount of the shared folder, besides the whole: the cluster's folders and the node's own."""
    own = f"{node_folder.NODES}/{node.specification.folder}"
    kept = (f"{own}/{name}" for name in node_folder.kept(node))
    # A unit would read another name otherwise: what has one stays closed.
    return [each for each in (*shared_files.FOLDERS, *kept) if re.fullmatch(r"[\w./-]+", each)]


def close(node: Node) -> None:
    """Close the shared folder to links and pin what containers mount of it, now and at every boot.

    What is so already stays as it is, and what a container has of it stays as it was when it began. A path that
    somebody else mounts is left alone.
    """
    share = node.specification.share
    if isinstance(share, MountedPath):
        return
    names = pins(node)
    lines = (" ".join(each) for each in _commands(share.path, names))
    text = "\n".join(f"ExecStart=-{shutil.which('mount')} {line}" for line in lines)
    after = systemd.mount_unit(share.path)
    systemd.write_unit(UNIT_NAME, UNIT.format(after=after, commands=text))
    systemd.enable(UNIT_NAME)
    if systemd.mount_at(share.path) is None:
        return
    if not is_closed(share.path):
        run(["mount", *_closing(share.path)], seconds=30)
    if not is_closed(share.path):
        return  # a pin would be looked for by way of links
    for path in (f"{share.path}/{name}" for name in names):
        if systemd.mount_at(path) is None:
            for words in _pinning(path):
                run(["mount", *words], seconds=30)


def is_closed(path: str) -> bool:
    """Whether nobody follows links in what is mounted at *path*: older kernels and mount(8) know no such option."""
    found = systemd.mount_at(path)
    return found is not None and CLOSED in found.options


def warnings(share: SharedFolder) -> list[str]:
    """What could not be closed."""
    is_ours = not isinstance(share, MountedPath) and systemd.mount_at(share.path) is not None
    if not is_ours or is_closed(share.path):
        return []
    return [
        f"{share.path} is mounted without {CLOSED}, for which Linux 5.10 and util-linux 2.37 are needed:"
        " who puts a link there may lead a container to other folders of this machine"
    ]


def _commands(path: str, names: Sequence[str]) -> Iterator[list[str]]:
    yield _closing(path)
    for name in names:
        yield from _pinning(f"{path}/{name}")


def _closing(path: str) -> list[str]:
    return ["--internal-only", "-o", ",".join(("remount", "bind", *systemd.CLOSED, CLOSED)), path]


def _pinning(path: str) -> Iterator[list[str]]:
    """mount(8) must not look for the path itself, or it would follow links where the kernel does not."""
    yield ["--no-canonicalize", "-o", "bind", path, path]
    options = ",".join(("remount", "bind", *systemd.CLOSED, "symfollow"))
    yield ["--no-canonicalize", "--internal-only", "-o", options, path]
