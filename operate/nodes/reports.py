"""Reading node reports from the cluster's bucket."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.exceptions import ClientError
from pydantic import ValidationError

from model.node_report import NodeReport
from model.specification import report_key

READERS = 16
"""Reports read at the same time."""
MOST_BYTES = 1024 * 1024
"""Of a report, which the root of a node writes; one has some 10 kB. A longer one cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Read:
    """A report, and how old it is by the clock of S3, whatever those of node and reader say."""

    report: NodeReport
    age_seconds: float

    @property
    def failure_age_seconds(self) -> float:
        """Seconds since the failure it tells; that of the report where it does not say when."""
        failure = self.report.failure
        if failure is None or failure.at is None:
            return self.age_seconds
        return self.age_seconds + (self.report.heartbeat - failure.at).total_seconds()


def read_report(s3: Any, bucket: str, node: str) -> Read | None:
    """A node's last report; ``None`` when it has written none that can be read. AWS's other errors pass through."""
    try:
        answer = s3.get_object(Bucket=bucket, Key=report_key(node))
        report = NodeReport.model_validate_json(answer["Body"].read(MOST_BYTES))
    except ValidationError:
        return None
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            return None
        raise
    now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    return Read(report=report, age_seconds=(now - answer["LastModified"]).total_seconds())


def read_reports(s3: Any, bucket: str, nodes: Iterable[str]) -> dict[str, Read | None]:
    """The last report of every node, read side by side."""
    names = list(nodes)
    with ThreadPoolExecutor(READERS) as readers:
        found = readers.map(lambda node: read_report(s3, bucket, node), names)
        return dict(zip(names, found, strict=True))
