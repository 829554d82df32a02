"""Whether the archive of a release is where a stack file says, asked without fetching it."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from preflight.situation import UnansweredError

SECONDS = 8
"""Patience with a web server; redirects count each."""
NO_HEAD = (405, 501)
"""What servers answer that know no HEAD."""
ASK_AGAIN = (408, 425, 429)
"""Refusals of this request that say nothing of the next one."""
COLD = ("GLACIER", "DEEP_ARCHIVE")
"""Storage classes whose objects are there and cannot be read."""
NOTED = "graphistry-"
"""Start of the names of the metadata by which `publish` notes an archive's version, CUDA flavour and checksum."""


class UnavailableError(Exception):
    """An archive that is not there or must not be read; the message says which."""

    def __init__(self, why: str, *, may_be_foreign: bool = False) -> None:
        super().__init__(why)
        self.may_be_foreign = may_be_foreign


@dataclass(frozen=True, kw_only=True)
class Archive:
    """An archive that is there and readable."""

    size: int | None
    """Bytes; None where a web server does not say."""
    noted: Mapping[str, str] = field(default_factory=dict)
    """``version``, ``cuda`` and ``sha256`` of one that `./cluster publish` has stored."""
    foreign: bool = False
    """Whether its bucket is another account's."""
    key: str | None = None
    """ARN of the KMS key by which it is encrypted, which is in the bucket's region."""


def in_s3(s3: Any, source: str, account: Callable[[], str]) -> Archive:
    """An archive in S3, in three calls at most. botocore goes to the bucket's own region by itself.

    Raises :class:`UnavailableError`; other errors of AWS pass through.
    """
    bucket, _, key = source.removeprefix("s3://").partition("/")
    try:
        found = s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        status = _status(error)
        if status == 404:
            raise UnavailableError("there is no such object") from None
        if status == 403:
            raise UnavailableError(
                "S3 lets you not read it (s3:GetObject; without s3:ListBucket it says so of what is not there too)",
                may_be_foreign=True,
            ) from None
        raise
    is_cold = "ArchiveStatus" in found or found.get("StorageClass") in COLD
    if is_cold and 'ongoing-request="false"' not in found.get("Restore", ""):
        raise UnavailableError("S3 has archived it, and nobody reads it before it is restored")
    noted = {
        name.removeprefix(NOTED): value
        for name, value in found.get("Metadata", {}).items()
        if name.startswith(NOTED)
    }
    return Archive(
        size=int(found["ContentLength"]),
        noted=noted,
        foreign=_is_foreign(s3, bucket, key, account()),
        key=found.get("SSEKMSKeyId"),
    )


def _is_foreign(s3: Any, bucket: str, key: str, account: str) -> bool:
    """S3 refuses a request that expects another owner, and the same one without was answered."""
    try:
        s3.head_object(Bucket=bucket, Key=key, ExpectedBucketOwner=account)
    except ClientError as error:
        if _status(error) == 403:
            return True
        raise
    return False


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def on_the_web(url: str) -> Archive:
    """An archive behind a URL, redirects followed, asked from this computer; the nodes' way there may be another.

    Raises :class:`UnavailableError` for what the server refuses, and :class:`UnansweredError` where none answered.
    """
    try:
        try:
            return _asked(url, method="HEAD")
        except urllib.error.HTTPError as error:
            if error.code not in NO_HEAD:
                raise
        return _asked(url, headers={"Range": "bytes=0-0"})
    except urllib.error.HTTPError as error:
        if error.code in ASK_AGAIN or error.code >= 500:
            raise UnansweredError(f"{url}: HTTP {error.code} {error.reason}") from None
        if error.code in (401, 403):
            raise UnavailableError(
                f"HTTP {error.code} {error.reason}; the nodes have no password for it either"
            ) from None
        raise UnavailableError(f"HTTP {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        raise UnansweredError(f"{url} was not reached from here: {_cause(error)}") from None
    except (OSError, http.client.HTTPException) as error:
        raise UnansweredError(f"{url} was not reached from here: {error}") from None


def _asked(url: str, **how: Any) -> Archive:
    request = urllib.request.Request(url, **how)  # noqa: S310 the settings admit https alone
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310 as above
        ranged = answer.headers.get("Content-Range", "").rpartition("/")[2]
        length = ranged if answer.status == 206 else answer.headers.get("Content-Length") or ""
        return Archive(size=int(length) if length.isdigit() else None)


def _cause(error: urllib.error.URLError) -> str:
    if isinstance(error.reason, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.reason.verify_message})"
    return str(getattr(error.reason, "strerror", None) or error.reason)
