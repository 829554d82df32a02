"""The key of the operator of hosts, which every machine of the site `hosts` lets in."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def private_key(sandbox: Path) -> str:
    """The operator's key as OpenSSH's text: every machine lets it in as `ubuntu`."""
    return key_file(sandbox).read_text()


def key_file(sandbox: Path) -> Path:
    """The file of that key, made where it is not there yet."""
    file = sandbox / "machines" / "operator_key"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        text = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )
        # A draft of its own for each caller: the machines of a stack boot in threads of one process.
        with tempfile.NamedTemporaryFile(dir=file.parent, prefix=".operator_key-") as draft:
            draft.write(text)
            draft.flush()
            with suppress(FileExistsError):  # another caller was faster: its key counts
                os.link(draft.name, file)
    return file


def public_key(sandbox: Path) -> str:
    """The other half of the operator's key, as in authorized_keys."""
    key = serialization.load_ssh_private_key(private_key(sandbox).encode(), None)
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        .decode()
    )
