"""The stand-in for Graphistry's archive: in the S3 of a sandbox whose own stacks fetch it, and as a file to publish."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from model.problems import UserError
from model.settings.aws import Settings
from operate.release.release_archive import inspect
from operate.release.storing import stored
from operate.stack.deployment import ROOT, SANDBOX_DIRECTORY, Deployment
from operate.stack.rehearsed_release import release_of_cluster, stand_in
from operate.stack.stack_file import read_stack_file, settings_of
from sandbox.machines.files import write

PUBLISHED = "stand-in.json"
"""File of the sandbox's directory that says which stand-in its S3 has."""


def require_stand_in(opened: Deployment) -> None:
    """Have the stand-in in the sandbox's S3 that its stack fetches, once for each start of the sandbox."""
    settings = opened.settings
    if opened.stand_in is None or opened.sandbox is None or not isinstance(settings, Settings):
        return
    source = settings.release.source
    known = {"sandbox": opened.sandbox.identity, "source": source}
    file = SANDBOX_DIRECTORY / PUBLISHED
    try:
        if json.loads(file.read_text()) == known:
            return
    except (OSError, ValueError):
        pass
    try:
        stored(opened.client, opened.region, inspect(opened.stand_in))
    except (BotoCoreError, ClientError):
        return  # this AWS refuses on purpose (docs/explanation/sandbox.md), and the preflight shows what
    write(file, known)


def write_stand_in(stack: str, file: Path) -> None:
    """Write the stand-in of a stack's release to *file*. Raises :class:`UserError` where the file tells no release."""
    stack_file = ROOT / "stacks" / f"Pulumi.{stack}.yaml"
    if not stack_file.exists():
        raise UserError(f"there is no stacks/{stack_file.name}")
    settings = settings_of(read_stack_file(stack_file, rehearsal=True)["config"])
    release = release_of_cluster(SANDBOX_DIRECTORY, settings)
    if release is None:
        raise UserError(
            f"the release of the stack {stack} is that of its leader's stack: name that"
        )
    if not file.parent.is_dir():
        raise UserError(f"there is no folder {file.parent}")
    shutil.copyfile(stand_in(release), file)
