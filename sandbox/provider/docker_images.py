"""Images of the outside world, which has no way into a sandbox: stood in by the base of the stand-in release's."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from typing import Any

import docker.errors

from ..release.build import official, saved_images
from .values import RefusalError

_PINNED = re.compile(
    r"(?:docker\.io/)?(?:library/)?(postgres|redis)(?::[\w.-]+)?@sha256:[0-9a-f]{64}"
)


def problem(name: str) -> str | None:
    """What is wrong with the name of an image."""
    if _PINNED.fullmatch(name):
        return None
    return "the sandbox stands in for postgres and redis alone, by digest: postgres:16@sha256:..."


def pulled(client: Any, name: str) -> str:
    """The id of the image that stands in for another; each name has one of its own."""
    found = _PINNED.fullmatch(name)
    if found is None:
        raise RefusalError(f"unable to pull image {name}: {problem(name)}")
    kind = found[1]
    tag = f"graphistry-sandbox-{kind}:{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    try:
        (loaded,) = client.images.load(saved_images({tag: official(kind)}))
    except docker.errors.DockerException as error:
        raise RefusalError(f"unable to pull image {name}: {error}") from error
    return str(loaded.id)


def has(client: Any, identifier: str) -> bool:
    """Whether an image is there."""
    try:
        client.images.get(identifier)
    except docker.errors.ImageNotFound:
        return False
    return True


def remove(client: Any, identifier: str) -> None:
    """Remove an image, where it is there; one that a container uses stays, as with the real provider's error."""
    with suppress(docker.errors.NotFound):
        try:
            client.images.remove(identifier, force=True)
        except docker.errors.APIError as error:
            raise RefusalError(f"Unable to remove image: {error.explanation}") from error
