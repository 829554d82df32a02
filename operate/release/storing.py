"""An archive of Graphistry, checked and stored in a bucket, with a bar for whoever waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from botocore.config import Config
from botocore.exceptions import ClientError
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn
from rich.progress import TextColumn as Text

from model.problems import UserError
from operate.release.release_archive import ReleaseArchive, inspect
from operate.release.release_bucket import default_bucket, require_bucket
from operate.release.upload import PATIENCE, upload
from operate.terminal.messages import console, say


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


@contextmanager
def _bar(what: str, total: int) -> Iterator[tuple[Callable[[int], None], Callable[[int], None]]]:
    """A bar on a terminal, a line elsewhere; what adds bytes to it, and what sets them."""
    columns = (Text("{task.description}"), BarColumn(), DownloadColumn(binary_units=True))
    progress = Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    )
    if not console.is_terminal:
        say(f"{what} ({size_of(total)})")
    with progress:
        task = progress.add_task(what, total=total)
        yield (
            lambda size: progress.advance(task, size),
            lambda offset: progress.update(task, completed=offset),
        )


def size_of(count: int) -> str:
    """A number of bytes in MiB or GiB."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
