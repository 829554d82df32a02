"""The site `aws`: specification, agent and report are objects of one bucket, the secret is in Secrets Manager."""

from __future__ import annotations

import time
import uuid
from http.client import HTTPResponse

from agent.failures import Failure
from agent.report import TRANSIENT
from agent.sites import aws
from agent.sites.aws import Aws, AwsError, Bucket, Secret
from agent.sites.bucket_asks import BucketAsks
from agent.specification import AwsPlace, SecretEnv, Specification


class AwsSite:
    """One machine of AWS; *prefix* is its own part of the bucket."""

    clock = "S3"

    def __init__(self, region: str, bucket: str, prefix: str) -> None:
        self.aws = Aws(region)
        self._bucket = Bucket(self.aws, bucket)
        self._prefix = prefix
        self._tag: str | None = None
        self._instance: dict[str, str] | None = None

    def instance(self) -> dict[str, str]:
        """Which machine this is; asked until the metadata service answers."""
        while self._instance is None:
            try:
                self._instance = aws.instance()
            except TRANSIENT as error:  # noqa: PERF203, it is a loop of tries
                print(
                    f"waiting: the instance metadata service does not answer: {error}", flush=True
                )
                time.sleep(2)
        return self._instance

    def read_specification(self) -> bytes | None:
        """The object, fetched only where it has another tag than the last one."""
        found = self._bucket.get_if_changed(f"{self._prefix}specification.json", self._tag)
        if found is None:
            return None
        content, self._tag = found
        return content

    def store_report(self, content: bytes) -> None:
        """Each report is a version of one object."""
        self._bucket.put(f"{self._prefix}report.json", content)

    def fetch_agent(self, specification: Specification) -> bytes:
        """The object that the specification names."""
        assert isinstance(specification.place, AwsPlace)  # noqa: S101, its site is this one
        return self._bucket.get(specification.place.agent_key)

    def read_secret(self, specification: Specification) -> str | None:
        """The secret's current version."""
        return self._secret(specification).get()

    def fill_secret(self, specification: Specification, text: str) -> None:
        """Fill the leader's secret unless another boot has."""
        self._fill(self._secret(specification), text)

    def share_secret(self, specification: Specification, text: str) -> str | None:
        """Fill the followers' secret unless it has a text."""
        assert specification.followers_secret is not None  # noqa: S101, the schema says so
        shared = Secret(self.aws, specification.followers_secret)
        present = shared.get()
        if present is not None:
            return present
        self._fill(shared, text)
        return shared.get()

    def _fill(self, secret: Secret, text: str) -> None:
        """The token is fixed, so AWS refuses a second text."""
        token = str(uuid.uuid5(uuid.NAMESPACE_URL, secret.arn))
        try:
            secret.put(text, token)
        except AwsError as error:
            if error.code != "ResourceExistsException":
                raise

    def read_secret_env(self, secret_env: SecretEnv) -> str | None:
        """The version that the specification names: another one may be on its way already."""
        assert secret_env.arn is not None  # noqa: S101, the schema says so
        return Secret(self.aws, secret_env.arn).get(secret_env.version)

    def clock_seconds(self) -> float | None:
        """Against the date of the last answer."""
        return self.aws.clock_seconds

    def asks(self) -> BucketAsks:
        """In the bucket, beside the reports."""
        return BucketAsks(self.aws, self._bucket)

    def request_replacement(self, instance: str) -> str:
        """Let the Auto Scaling group bring another machine."""
        aws.mark_unhealthy(self.aws, instance)
        return "the Auto Scaling group replaces this machine"

    def open_release(self, source: str, span: str) -> HTTPResponse:
        """An object of S3, in whatever region."""
        bucket, _, key = source[len("s3://") :].partition("/")
        try:
            return aws.open_object(self.aws, bucket, key, span)
        except AwsError as error:
            if error.is_transient:
                raise
            raise Failure("ReleaseUnavailable", f"{source}: {error}") from error

    def _secret(self, specification: Specification) -> Secret:
        assert specification.secret is not None  # noqa: S101, the schema says so
        return Secret(self.aws, specification.secret)
