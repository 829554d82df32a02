"""The followers' wishes for other machines in the site's bucket: nodes/<node>/replacement.json."""

from __future__ import annotations

import re
import urllib.parse

from agent import bootstrap
from agent.sites.aws import Aws, Bucket
from agent.wishes import Ask, dumps, loads

ROOT = "nodes/"
LEADER = "leader"
NAME = "replacement.json"


class BucketAsks:
    """As the role of a follower may see them."""

    def __init__(self, aws: Aws, bucket: Bucket) -> None:
        self._aws = aws
        self._bucket = bucket

    def of(self, node: str) -> Ask | None:
        """The last wish of a node; it is listed first: a role that may not list all gets 403 for what is not there."""
        key = f"{ROOT}{node}/{NAME}"
        return loads(self._bucket.get(key)) if key in self._keys(f"{ROOT}{node}/") else None

    def all(self) -> tuple[list[str], list[Ask]]:
        """Every node with a specification is one of the cluster's: the program deletes it with the follower."""
        keys = self._keys(ROOT)
        nodes = [key.split("/")[1] for key in keys if key.endswith("/specification.json")]
        wishes = [key for key in keys if key.endswith(f"/{NAME}")]
        return (
            [each for each in nodes if each != LEADER],
            [loads(self._bucket.get(key)) for key in wishes],
        )

    def write(self, ask: Ask) -> None:
        """Replace this node's wish."""
        self._bucket.put(f"{ROOT}{ask.node}/{NAME}", dumps(ask))

    def forget(self, node: str) -> str:
        """A command for the operator."""
        return f"aws s3 rm s3://{self._bucket.name}/{ROOT}{node}/{NAME}"

    def _keys(self, prefix: str) -> list[str]:
        found: list[str] = []
        token = ""
        while True:
            # Signature Version 4 wants them in this order.
            query = {"continuation-token": token} if token else {}
            query.update({"list-type": "2", "prefix": prefix})
            words = urllib.parse.urlencode(query, quote_via=urllib.parse.quote, safe="~")
            url = bootstrap.object_url(self._aws.region, self._bucket.name, "")
            text = self._aws.call("s3", "GET", f"{url}?{words}").decode()
            found += re.findall("<Key>([^<]*)</Key>", text)
            more = re.search("<NextContinuationToken>([^<]*)</NextContinuationToken>", text)
            if more is None:
                return found
            token = more.group(1)
