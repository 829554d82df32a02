"""The images that a stack file means, rehearsed: the sandbox shows a stand-in of each, with a release if it has one.

What AWS publishes (`image.ssmParameter`) the sandbox has by itself, and nothing of Graphistry is in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from model.settings.image import MARKETPLACE_OWNER, Image
from model.settings.sections import Release
from sandbox.lifecycle import IMAGES
from sandbox.machines.files import write

MARKETPLACE_NAME = "graphistry-standalone-2026-01-01T00-00-00Z-v{version}-{cuda}.9"
"""A name as `model.settings.image.marketplace_name` looks for it."""


def rehearse_images(
    sandbox: Path, region: str, image: Image, release: Release | None, *, own: bool
) -> None:
    """Let the sandbox have the images of a stack file, the *own* ones that it names too; none that was there goes.

    An image that has a release has the *release* of the cluster, as an account would only name such a one.
    """
    wanted = dict(_own(region, image, release)) if own else {}
    if image.marketplace and release is not None:
        name = MARKETPLACE_NAME.format(version=release.version, cuda=release.cuda)
        identifier = f"ami-{hashlib.sha256(f'{region} {name}'.encode()).hexdigest()[:17]}"
        sold = {"name": name, "owner": MARKETPLACE_OWNER, "release": _named(release)}
        wanted[region, identifier] = sold
    if not wanted:
        return
    file = sandbox / IMAGES
    known = json.loads(file.read_text()) if file.exists() else {}
    for (place, identifier), described in wanted.items():
        known.setdefault(place, {})[identifier] = described
    write(file, known)


def _own(
    region: str, image: Image, release: Release | None
) -> Iterator[tuple[tuple[str, str], dict[str, str]]]:
    """Region and id of each image that a stack file names, and what is known of it."""
    named = {
        place: (locked.id, locked.name or "a locked image") for place, locked in image.lock.items()
    }
    if image.id is not None:
        named[region] = (image.id, "an image of your own")
    for place, (identifier, name) in named.items():
        has_release = release is not None and image.has_release(place)
        yield (
            (place, identifier),
            {"name": name, "release": _named(release) if has_release and release else ""},
        )


def _named(release: Release) -> str:
    return f"{release.version}-{release.cuda}"
