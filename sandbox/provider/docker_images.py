"""Images of the outside world, which has no way into a sandbox: stood in by the machines' own software."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import threading
from typing import Any

from ..machines import image
from .values import RefusalError

_ONE_AT_A_TIME = threading.Lock()
_PINNED = re.compile(
    r"(?:docker\.io/)?(?:library/)?(postgres|redis)(?::[\w.-]+)?@sha256:[0-9a-f]{64}"
)
# Nothing is run to build them: the keeper of machines would end a container it does not know.
_RECIPES = {
    "postgres": """ENV PGDATA=/var/lib/postgresql/data
VOLUME /var/lib/postgresql/data
STOPSIGNAL SIGINT
CMD ["postgres"]""",
    "redis": """WORKDIR /data
VOLUME /data
STOPSIGNAL SIGTERM
CMD ["redis-server"]""",
}


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
    of = found[1]
    recipe = "\n".join(
        [
            f"FROM {image.IMAGE}:latest",
            _RECIPES[of],
            f'LABEL stands-in-for="{name}"',
            f'ENTRYPOINT ["/usr/lib/graphistry-sandbox/{of}-entrypoint"]',
            "",
        ]
    ).encode()
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(recipe)
        tar.addfile(entry, io.BytesIO(recipe))
    context.seek(0)
    tag = f"graphistry-sandbox-{of}:{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    # Side by side, one build may take away a mount that another one is at.
    with _ONE_AT_A_TIME:
        built, _ = client.images.build(fileobj=context, custom_context=True, tag=tag, rm=True)
    return str(built.id)
