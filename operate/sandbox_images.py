"""The images that a stack file names, rehearsed: the sandbox shows a stand-in under the id of each."""

from __future__ import annotations

import json
from pathlib import Path

from model.image import Image
from sandbox.lifecycle import IMAGES
from sandbox.machines.files import write


def rehearse_images(sandbox: Path, region: str, image: Image) -> None:
    """Let the sandbox have the images that a stack file names; no other ever goes."""
    wanted = {region: {image.id: "an image of your own"}} if image.id else {}
    for place, locked in image.lock.items():
        wanted.setdefault(place, {})[locked.id] = locked.name or "a locked image"
    if not wanted:
        return
    file = sandbox / IMAGES
    known = json.loads(file.read_text()) if file.exists() else {}
    for place, images in wanted.items():
        known[place] = known.get(place, {}) | images
    write(file, known)
