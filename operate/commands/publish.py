"""The vendor's archive, checked and stored where the nodes of a stack fetch it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from model.problems import UserError
from model.settings.aws import JoinedSettings, Settings
from model.settings.sections import Release
from operate.commands.options import Stack, Where
from operate.commands.preparation import signed_in
from operate.commands.screen import confirmed
from operate.release.release_archive import ReleaseArchive, require_archive
from operate.release.release_bucket import require_name
from operate.release.storing import checked, size_of, stored
from operate.stack.deployment import ROOT, SANDBOX_DIRECTORY, Deployment
from operate.stack.rehearsed_release import remember
from operate.stack.release_file import write_release
from operate.stack.session import deployment, mistakes_told, require_reach
from operate.terminal.messages import say


def publish_archive(opened: Deployment, file: Path, bucket: str, *, yes: bool) -> None:
    """Check *file*, store it in *bucket* (or the account's own for releases), and let the stack fetch it from there.

    The stack file gets `release.source` and `release.sha256`, and after a yes another version or CUDA flavour; in a
    rehearsal they are remembered below `.sandbox`. Raises :class:`UserError` for an archive that the stack cannot use.
    """
    settings = _settings(opened)
    if bucket:
        require_name(bucket)
    # Before the minutes that the archive takes.
    signed_in(opened)
    archive = checked(file)
    say(
        f"{file.name} is Graphistry {archive.version} for CUDA {archive.cuda}, {size_of(archive.size)}, "
        f"sha256 {archive.sha256}"
    )
    changed = _changed(opened, settings.release, archive, yes=yes)
    source = stored(opened.client, opened.region, archive, bucket)
    where = {"source": source, "sha256": archive.sha256}
    if opened.sandbox is not None:
        remember(SANDBOX_DIRECTORY, opened.stack, settings.release.model_copy(update=where))
        say(
            "rehearsals of this stack fetch it from there as long as this sandbox runs; the stack file is left as it is"
        )
    else:
        write_release(ROOT / "stacks" / opened.config_file.name, {**changed, **where})
        say(
            f"written to stacks/{opened.config_file.name}: release.{', release.'.join({**changed, **where})}"
        )
    say(f"next: ./cluster preview{opened.choice}")


def _settings(opened: Deployment) -> Settings:
    """The settings of a stack that fetches an archive from a bucket by its own choice."""
    settings = opened.settings
    if isinstance(settings, Settings):
        return settings
    if isinstance(settings, JoinedSettings):
        leader = settings.leader_stack.rpartition("/")[2]
        choice = opened.choice.replace(f" {opened.stack}", f" {leader}", 1)
        raise UserError(
            f"the release of the stack {opened.stack} is that of its leader's stack: ./cluster publish{choice} FILE"
        )
    raise UserError(
        f"the stack {opened.stack} is on hosts, which have no role on AWS to read a bucket. Write "
        "`release.source: file:/absolute/path` and `release.sha256` (`sha256sum FILE`): "
        f"`./cluster up{opened.choice}` brings the archive"
    )


def _changed(
    opened: Deployment, wanted: Release, archive: ReleaseArchive, *, yes: bool
) -> dict[str, str]:
    """The keys of `release` that become those of the archive, once somebody agrees."""
    found = {"version": archive.version, "cuda": archive.cuda}
    before = {"version": wanted.version, "cuda": wanted.cuda}
    changed = {key: value for key, value in found.items() if value != before[key]}
    if not changed:
        return {}
    told = ", ".join(f"release.{key}: {before[key]}" for key in changed)
    stack_file = f"stacks/{opened.config_file.name}"
    difference = (
        f"the archive is {archive.version} for CUDA {archive.cuda}, and {stack_file} has {told}"
    )
    try:
        Release.model_validate(found)
    except ValueError:
        raise UserError(f"{difference}. This program knows no such release") from None
    if opened.sandbox is not None:
        raise UserError(
            f"{difference}. A rehearsal leaves the stack file as it is; give it that version first, or another archive"
        )
    if not (yes or (sys.stdin.isatty() and confirmed(f"{difference}. Write what the archive is?"))):
        raise UserError(
            f"{difference}. Nothing was uploaded: write the archive's version there, or give another archive; `--yes` "
            "writes it. On a cluster that runs it is an upgrade"
        )
    return changed


def publish(
    stack: Stack,
    archive: Annotated[
        Path, typer.Argument(metavar="ARCHIVE", help="The vendor's archive, release.tar.gz.")
    ],
    target: Where = None,
    bucket: Annotated[
        str,
        typer.Option(
            help="Bucket to store it in, made if missing. Without it graphistry-releases-ACCOUNT-REGION."
        ),
    ] = "",
    yes: Annotated[
        bool,
        typer.Option(
            "--yes",
            help="Write a changed version and CUDA flavour into the stack file without asking.",
        ),
    ] = False,
) -> None:
    """Check the vendor's archive, store it in a bucket, and let the stack fetch it from there."""
    archive = archive.expanduser().absolute()
    with mistakes_told():
        require_archive(archive)  # nobody needs credentials, an engine or a sandbox to learn that
    require_reach(archive, stack, target)
    with deployment(stack, target, changes=False) as opened:
        publish_archive(opened, archive, bucket, yes=yes)
