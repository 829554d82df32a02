"""The few AWS calls of a node: S3, Secrets Manager, Auto Scaling, instance metadata.

Signed by ``agent.bootstrap``, because no AWS library or command is on every supported image.
"""

from __future__ import annotations

import email.utils
import json
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPResponse
from typing import Any

from agent import bootstrap

CREDENTIALS_SECONDS = 300
"""How long the role's credentials are reused; they live for hours, new ones appear early."""
TIMEOUT_SECONDS = 30
TRANSIENT_CODES = (
    *("5", "408", "425", "429"),
    *("SlowDown", "Throttling", "RequestThrottled", "RequestLimitExceeded", "TooManyRequests"),
    *("RequestTimeout", "InternalError", "InternalFailure", "ServiceUnavailable"),
)
"""How codes begin of refusals that pass by themselves: HTTP's where AWS gives no other, else AWS's own."""


class AwsError(OSError):
    """AWS refused a call; *code* is AWS's own."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code

    @property
    def is_transient(self) -> bool:
        """Whether the same call may go well later."""
        return self.code.startswith(TRANSIENT_CODES)


class Aws:
    """What this machine's role may call in one region."""

    def __init__(self, region: str) -> None:
        self.region = region
        self.clock_seconds: float | None = None
        """By how much this machine's clock was ahead of S3's at the last answer."""
        self.region_of: dict[str, str] = {}
        """Of buckets that have told that they are elsewhere."""
        self._role: dict[str, str] | None = None
        self._role_end = 0.0

    def open(
        self,
        service: str,
        method: str,
        url: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        region: str | None = None,
    ) -> HTTPResponse:
        """An answer whose body is still to be read; raises AwsError, or OSError where none came."""
        scope = f"{region or self.region}/{service}"
        asked = urllib.request.Request(
            url,
            data=body or None,
            headers=bootstrap.signed(scope, method, url, body, self._credentials(), headers),
            method=method,
        )
        try:
            answer: HTTPResponse = urllib.request.urlopen(asked, timeout=TIMEOUT_SECONDS)
        except urllib.error.HTTPError as error:
            raise _refusal(error) from error
        date = (
            email.utils.parsedate_to_datetime(answer.headers["Date"])
            if answer.headers["Date"]
            else None
        )
        if date is not None:
            self.clock_seconds = time.time() - date.timestamp()
        return answer

    def call(
        self,
        service: str,
        method: str,
        url: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> bytes:
        """The body of an answer; what AWS itself could not answer is asked three times."""
        for attempt in (1, 2, 3):
            try:
                with self.open(service, method, url, body, headers) as answer:
                    content: bytes = answer.read()
                break
            except AwsError as error:
                if attempt == 3 or not error.is_transient:
                    raise
            time.sleep(attempt)
        return content

    def _credentials(self) -> dict[str, str]:
        if self._role is None or time.monotonic() > self._role_end:
            self._role = bootstrap.credentials()
            self._role_end = time.monotonic() + CREDENTIALS_SECONDS
        return self._role

    def endpoint(self, service: str) -> str:
        """Where a service of this region answers."""
        own = f"https://{service}.{self.region}.{bootstrap.domain(self.region)}"
        return os.environ.get("AWS_ENDPOINT_URL") or own


class Bucket:
    """The site's bucket: specifications, reports, the agent's archive."""

    def __init__(self, aws: Aws, name: str) -> None:
        self._aws = aws
        self.name = name

    def get(self, key: str) -> bytes:
        """The bytes of an object."""
        return self._aws.call("s3", "GET", bootstrap.object_url(self._aws.region, self.name, key))

    def get_if_changed(self, key: str, tag: str | None) -> tuple[bytes, str] | None:
        """The bytes and the entity tag of an object; None where it still has the tag *tag*."""
        url = bootstrap.object_url(self._aws.region, self.name, key)
        condition = {"if-none-match": tag} if tag else {}
        try:
            with self._aws.open("s3", "GET", url, headers=condition) as answer:
                return answer.read(), answer.headers["ETag"] or ""
        except AwsError as error:
            if error.code == "304":
                return None
            raise

    def put(self, key: str, content: bytes) -> None:
        """Replace an object."""
        url = bootstrap.object_url(self._aws.region, self.name, key)
        self._aws.call("s3", "PUT", url, content)


def open_object(aws: Aws, bucket: str, key: str, span: str) -> HTTPResponse:
    """The bytes of an object in a range like `bytes=0-99`; the bucket may be in another region."""
    for _ in (1, 2):
        region = aws.region_of.get(bucket, aws.region)
        url = bootstrap.object_url(region, bucket, key)
        try:
            return aws.open("s3", "GET", url, headers={"range": span}, region=region)
        except AwsError as error:
            cause = error.__cause__
            told = (
                cause.headers.get("x-amz-bucket-region")
                if isinstance(cause, urllib.error.HTTPError)
                else None
            )
            if not told or told == region:
                raise
            aws.region_of[bucket] = told
    raise AwsError("PermanentRedirect", f"{bucket} answers from no region")


class Secret:
    """One secret of Secrets Manager."""

    def __init__(self, aws: Aws, arn: str) -> None:
        self._aws = aws
        self.arn = arn

    def get(self, version: str | None = None) -> str | None:
        """The secret's text, the current one or that of a *version*; None while it has none."""
        named = {"VersionId": version} if version else {}
        try:
            answer = self._call("GetSecretValue", {"SecretId": self.arn, **named})
        except AwsError as error:
            if error.code == "ResourceNotFoundException":
                return None
            raise
        text: str = answer["SecretString"]
        return text

    def put(self, text: str, token: str) -> None:
        """Give the secret a text; AWS refuses another text with the same *token* (ResourceExistsException)."""
        content = {"SecretId": self.arn, "SecretString": text, "ClientRequestToken": token}
        self._call("PutSecretValue", content)

    def _call(self, action: str, content: dict[str, str]) -> dict[str, Any]:
        headers = {
            "x-amz-target": f"secretsmanager.{action}",
            "content-type": "application/x-amz-json-1.1",
        }
        url = f"{self._aws.endpoint('secretsmanager')}/"
        body = self._aws.call("secretsmanager", "POST", url, json.dumps(content).encode(), headers)
        answer: dict[str, Any] = json.loads(body)
        return answer


def mark_unhealthy(aws: Aws, instance: str) -> None:
    """Let the instance's Auto Scaling group replace it."""
    form = {
        "Action": "SetInstanceHealth",
        "Version": "2011-01-01",
        "InstanceId": instance,
        "HealthStatus": "Unhealthy",
        "ShouldRespectGracePeriod": "false",
    }
    headers = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    body = urllib.parse.urlencode(form).encode()
    aws.call("autoscaling", "POST", f"{aws.endpoint('autoscaling')}/", body, headers)


def instance() -> dict[str, str]:
    """Which machine this is: id, type, zone, private address."""
    paths = {
        "id": "instance-id",
        "type": "instance-type",
        "zone": "placement/availability-zone",
        "address": "local-ipv4",
    }
    return {name: bootstrap.metadata(path).strip() for name, path in paths.items()}


def _refusal(error: urllib.error.HTTPError) -> AwsError:
    """What AWS says in the body of a refusal, be it JSON or XML."""
    body = error.read().decode(errors="replace")
    code, message = str(error.code), error.reason
    if error.code >= 500 or error.code == 304:
        return AwsError(code, message)
    try:
        told = json.loads(body)
        code = str(told["__type"]).rsplit("#", 1)[-1]
        message = told.get("message") or told.get("Message") or ""
    except (ValueError, LookupError, TypeError):
        code = _element(body, "Code") or code
        message = _element(body, "Message") or message
    return AwsError(code, message)


def _element(body: str, name: str) -> str | None:
    found = re.search(f"<{name}>(.*?)</{name}>", body, re.DOTALL)
    return found.group(1) if found else None
