"""The vendor's archive, checked and stored where the nodes of a stack fetch it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from botocore.config import Config
from botocore.exceptions import ClientError
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn
from rich.progress import TextColumn as Text

from model.settings.aws import JoinedSettings, Settings
from model.settings.sections import Release
from operate.commands.screen import confirmed
from operate.commands.up import signed_in
from operate.release.release_archive import ReleaseArchive, inspect
from operate.release.release_bucket import default_bucket, require_bucket, require_name
from operate.release.upload import PATIENCE, upload
from operate.stack.deployment import ROOT, SANDBOX_DIRECTORY, Deployment
from operate.stack.rehearsed_release import remember
from operate.stack.release_file import write_release
from operate.terminal.messages import UserError, console, say


def publish(opened: Deployment, file: Path, bucket: str, *, yes: bool) -> None:
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
        f"{file.name} is Graphistry {archive.version} for CUDA {archive.cuda}, {_size(archive.size)}, "
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
    say(f"next: make preview{opened.choice}")


def _settings(opened: Deployment) -> Settings:
    """The settings of a stack that fetches an archive from a bucket by its own choice."""
    settings = opened.settings
    if isinstance(settings, Settings):
        return settings
    if isinstance(settings, JoinedSettings):
        leader = settings.leader_stack.rpartition("/")[2]
        choice = opened.choice.replace(f"STACK={opened.stack}", f"STACK={leader}")
        raise UserError(
            f"the release of the stack {opened.stack} is that of its leader's stack: make publish ARCHIVE=FILE{choice}"
        )
    raise UserError(
        f"the stack {opened.stack} is on hosts, which have no role on AWS to read a bucket. Write "
        "`release.source: file:/absolute/path` and `release.sha256` (`sha256sum FILE`): "
        f"`make up{opened.choice}` brings the archive"
    )


def checked(file: Path) -> ReleaseArchive:
    """What *file* is, with a bar while it is read."""
    with _bar(f"checking {file.name}", file.stat().st_size) as (_, total):
        return inspect(file, total)


def stored(
    client: Callable[[str, Config], Any], region: str, archive: ReleaseArchive, bucket: str = ""
) -> str:
    """Where *archive* is in *bucket*, of this account; the bucket is made if it is not there.

    *client* makes a boto3 client of a service. Raises :class:`UserError`.
    """
    caller = client("sts", PATIENCE).get_caller_identity()
    account, partition = str(caller["Account"]), str(caller["Arn"]).split(":")[1]
    bucket = bucket or default_bucket(account, region)
    s3 = client("s3", PATIENCE)
    source = f"s3://{bucket}/{archive.key}"
    require_bucket(s3, bucket, account, region, partition)
    try:
        with _bar(f"uploading to {bucket}", archive.size) as (added, _):
            is_new = upload(s3, bucket, archive, added)
    except KeyboardInterrupt:
        raise UserError("stopped; the same command goes on with the parts that are there") from None
    except ClientError as error:
        if error.response["Error"]["Code"] in ("AccessDenied", "403"):
            raise UserError(
                f"S3 refuses {error.operation_name} on {bucket}: whoever publishes needs s3:PutObject, s3:GetObject, "
                "s3:ListBucketMultipartUploads and s3:ListMultipartUploadParts on it"
            ) from None
        raise
    say(f"{'stored as' if is_new else 'is there already:'} {source}")
    return source


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
            f"{difference}. Nothing was uploaded: write the archive's version there, or give another archive; YES=1 "
            "writes it. On a cluster that runs it is an upgrade"
        )
    return changed


@contextmanager
def _bar(what: str, total: int) -> Iterator[tuple[Callable[[int], None], Callable[[int], None]]]:
    """A bar on a terminal, a line elsewhere; what adds bytes to it, and what sets them."""
    columns = (Text("{task.description}"), BarColumn(), DownloadColumn(binary_units=True))
    progress = Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    )
    if not console.is_terminal:
        say(f"{what} ({_size(total)})")
    with progress:
        task = progress.add_task(what, total=total)
        yield (
            lambda size: progress.advance(task, size),
            lambda offset: progress.update(task, completed=offset),
        )


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
