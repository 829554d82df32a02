"""A host whose Graphistry had a database before is not passed over, and the documented commands bring it along."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.cluster.nodes import Cluster
from tests.cluster.on_hosts import STACK, OnHosts
from tests.harness import ROOT

SHARED = "/mnt/lab/graphistry"
PAGE = ROOT / "docs" / "reference" / "failure-codes.md"
VOLUME = "2.50.1_postgres_data"
PSQL = "psql --username=graphistry --tuples-only --no-align --command"
SERVICE = "docker ps -q -f label=com.docker.compose.service="


def commands() -> list[str]:
    """The blocks of commands that docs/reference/failure-codes.md has for it."""
    section = PAGE.read_text().partition("## A database elsewhere\n")[2]
    blocks = re.findall(r"```console\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    return ["set -e -o pipefail\n" + each.replace("root@leader# ", "") for each in blocks]


@pytest.fixture
def cluster(empty: Cluster) -> OnHosts:
    """A leader alone, whose agent waits for the shared folder to be mounted; its Graphistry runs as before."""
    found = OnHosts(replace(empty.checkout, stack=STACK))
    found.checkout.change(followers={}, sharedFolder={"kind": "path", "path": SHARED})
    assert "SharedFolderUnmounted" in found.up().stdout
    found.run("leader", f"cd {found.release} && ./graphistry up -d nexus")
    migrated = f"docker logs $({SERVICE}nexus) 2>&1 | grep -q listening"
    found.run("leader", f"timeout 120 sh -c 'until {migrated}; do sleep 0.2; done'")
    return found


def test_a_database_of_before_is_taken_along_as_documented(cluster: OnHosts) -> None:
    container, volume, dump, read = commands()
    words = "CREATE TABLE ours (what text); INSERT INTO ours VALUES ($$kept$$)"
    cluster.run("leader", f"docker exec $({SERVICE}postgres) {PSQL} '{words}'")
    cluster.run("leader", f"mkdir -p {SHARED} && mount -t tmpfs none /mnt/lab && mkdir -p {SHARED}")
    failure = cluster.until_failed("leader", "DatabaseElsewhere")
    assert "postgres of this release has its database in " in failure["message"]
    cluster.run("leader", f"{container}docker stop $OLD && docker rm $OLD")

    cluster.until(
        "leader",
        lambda report: "Docker's volume" in (report["failure"] or {}).get("message", ""),
    )
    assert VOLUME in cluster.until_failed("leader", "DatabaseElsewhere")["message"]
    cluster.run("leader", f"{volume}{dump}")
    cluster.until_ready("leader")
    cluster.run("leader", read)
    cluster.until("leader", lambda report: report["state"] != "ready")
    report = cluster.until_ready("leader")
    found = cluster.run("leader", f"docker exec $({SERVICE}postgres) {PSQL} 'TABLE ours'")
    assert found == "kept\n"
    checks = {each["name"]: each for each in report["checks"]}
    assert checks["administrator"]["ok"], checks
    assert "data volume" in checks["database"]["detail"]
