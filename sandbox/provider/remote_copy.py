"""`command:remote:CopyToRemote`: a file to another machine, over SFTP.

Like the real one it writes in place: a copy that is cut leaves half of the file.
"""

from __future__ import annotations

import contextlib
import io
import posixpath
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import paramiko

from .call import Call
from .protocol import Problem
from .ssh import connected
from .values import UNKNOWN, Properties, RefusalError

MODELLED = {"connection", "remotePath", "source", "triggers"}
"""Inputs that are carried out; any other is refused."""
CHUNK = 32768
"""Bytes in one request, the most that every server takes."""


def problems(inputs: Properties) -> Iterator[Problem]:
    """What is wrong with the inputs beyond their names and types."""
    if inputs.get("source") == UNKNOWN:  # as in version 1.2.1
        yield "asset", "either asset or archive must be set"


def copy(inputs: Properties, call: Call) -> None:
    """Copy the source to the machine; a folder as the target gets a file of the source's name."""
    target = inputs["remotePath"]
    with connected(inputs["connection"], call) as transport:
        try:
            client = paramiko.SFTPClient.from_transport(transport)
            if client is None:
                raise RefusalError("ssh: subsystem request failed")
            if _is_folder(client, target):
                target = _inside(target, inputs["source"])
            try:
                written = client.open(target, "wb")
            except OSError as error:
                what = f"failed to create remote file {target}"
                raise RefusalError(f"{what}: {_reason(error)}") from error
            written.set_pipelined(True)
            size = 0
            with written, _opened(inputs["source"]) as source:
                while data := source.read(CHUNK):
                    written.write(data)
                    size += len(data)
            # Writes are not waited for, and closing hides what became of the last ones.
            if client.stat(target).st_size != size:
                raise RefusalError(_failed(inputs, target, "short write"))
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise RefusalError(_failed(inputs, target, _reason(error))) from error


def is_another(old: Properties, new: Properties) -> bool:
    """Whether a change of inputs copies again; a change of the connection does not."""
    return (old["source"].get("hash"), old["remotePath"]) != (
        new["source"].get("hash"),
        new["remotePath"],
    )


def _inside(folder: str, source: Properties) -> str:
    if "path" not in source:
        raise RefusalError(
            f"remote path {folder} is a directory; when using a text asset, remotePath must be a"
            " file path"
        )
    return posixpath.join(folder, Path(source["path"]).name)


def _is_folder(client: paramiko.SFTPClient, path: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return stat.S_ISDIR(client.stat(path).st_mode or 0)
    return False


def _opened(source: Properties) -> BinaryIO:
    """The bytes of an asset; a relative path counts from the project's folder."""
    if "path" in source:
        return Path(source["path"]).open("rb")
    return io.BytesIO(str(source.get("text", "")).encode())


def _failed(inputs: Properties, target: str, reason: str) -> str:
    source = inputs["source"].get("path", "(text)")
    return f"failed to copy file {source} to remote path {target}: {reason}"


def _reason(error: Exception) -> str:
    return "file does not exist" if isinstance(error, FileNotFoundError) else str(error) or "EOF"
