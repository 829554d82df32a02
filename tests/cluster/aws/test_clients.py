"""PyGraphistry, and a Socket.IO of others, use a booted node: what the stand-in takes for granted they do not know."""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.nodes import Cluster, Report, check
from tests.harness import ROOT

PYTHON = ROOT / ".build" / "clients" / "bin" / "python"
CLIENT = Path(__file__).parents[1] / "vendors_client.py"
USER = "graphistry-cluster"

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root may run a program of this computer in a node's network"
)


def client(cluster: Cluster, node: str, *words: str) -> Any:
    """What the client prints, which runs in a node's network."""
    assert PYTHON.exists(), "PyGraphistry is not there; `make .build/clients/ready` installs it"
    machine = cluster.machine(node)
    machine.reload()
    secret = json.loads(cluster.run(node, "cat /opt/graphistry-cluster/secrets.json"))
    done = subprocess.run(
        ["nsenter", "-n", "-t", str(machine.attrs["State"]["Pid"]), PYTHON, CLIENT, *words],
        env={**os.environ, "USERNAME": USER, "PASSWORD": secret["servicePassword"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def uploaded(cluster: Cluster) -> dict[str, Any]:
    """What PyGraphistry says of a graph that it has uploaded to a follower, as files and as tables."""
    found: dict[str, Any] = client(cluster, "small", "upload")
    return found


@pytest.mark.parametrize("way", ["files", "tables"])
def test_what_pygraphistry_plots_is_read_shown_and_deleted_on_every_node(
    cluster: Cluster, uploaded: dict[str, Any], way: str
) -> None:
    url = uploaded[way]
    assert (url["path"], url["type"]) == ("/graph/graph.html", "arrow")
    for node in cluster.nodes():
        assert cluster.exercise(node, "read", url["dataset"]) == {"edges": 7}
        assert cluster.exercise(node, "visualize", url["dataset"])["answered"] is True
    if way == "files":
        assert uploaded["bound"] == ["src", "dst"]
        page = cluster.run(
            "large", f"curl -sf 'http://localhost{url['path']}?dataset={url['dataset']}'"
        )
        prefix = re.search('graphistryPath = "([^"]*)"', page)
        assert prefix
        told = client(cluster, "large", "session", f"{prefix[1]}/socket.io", url["dataset"])
        assert [each["kind"] for each in told["answers"]] == ["C"]
        assert told["answers"][0]["value"]["jsonGraph"]["workbooks"]["open"]["edges"] == 7
    cluster.exercise("large", "delete", url["dataset"])
    for node in cluster.nodes():
        assert cluster.exercise(node, "gone", url["dataset"]) == {"gone": True}
    # By whoever deleted them: the other nodes' sshfs lists a folder as of 20 seconds ago.
    kept = cluster.run("large", "ls /mnt/graphistry/datasets /mnt/graphistry/uploads")
    assert url["dataset"] not in kept


def test_pygraphistry_signs_in_again_when_its_time_is_over(cluster: Cluster) -> None:
    made = f"from standin import tokens; print(tokens.token('{USER}'))"
    nexus = cluster.service("small", "nexus")
    expired = cluster.run(
        "small", f'docker exec -e JWT_EXPIRATION_DELTA=-1 {nexus} python3 -c "{made}"'
    ).strip()
    told = client(cluster, "small", "expired", expired)
    assert told == {
        "verifiesGood": True,
        "verifiesExpired": False,
        "refreshed": True,
        "again": True,
    }
    assert "Unable to log in" in client(cluster, "small", "refused")["error"]


@pytest.fixture
def trapped(cluster: Cluster) -> Any:
    """A follower whose release is another one for a while."""
    yield lambda **traps: cluster.trap("small", **traps)
    cluster.trap("small")


def test_releases_of_other_forms_are_proven_or_said_to_be_unproven(
    cluster: Cluster, trapped: Any
) -> None:
    dataset = cluster.exercise("leader", "upload", "forms")["datasetId"]
    for counts, edges in (("num_edges", 5), ("none", None), ("edge_count", 5)):
        trapped(datasetCounts=counts)
        assert cluster.exercise("small", "read", dataset) == {"edges": edges}
    trapped(socketProtocol=3)
    assert cluster.exercise("small", "visualize", dataset)["answered"] is True
    trapped(pageNamesNoSocket=True)
    assert set(cluster.exercise("small", "visualize", dataset)) == {"notProven"}
    trapped(sessionsRefused=True)
    assert "no worker is free" in refusal(cluster, "visualize", dataset)
    trapped(keepsDeleted=True)
    cluster.exercise("small", "delete", dataset)
    assert cluster.exercise("leader", "gone", dataset) == {"gone": False}
    trapped()
    cluster.exercise("small", "delete", dataset)


def refusal(cluster: Cluster, *words: str) -> str:
    """The error of an exercise that fails."""
    command = f"/usr/bin/python3 /opt/graphistry-cluster/agent.pyz exercise {' '.join(words)}"
    return str(json.loads(cluster.run("small", f"{command} || true"))["error"])


NO_CONFIG = """#!/bin/sh
case $1 in
    up | down | stop | restart | logs | exec | ps) exec "$(dirname "$0")/graphistry.theirs" "$@" ;;
esac
echo "usage: graphistry up|down|stop|restart|logs|exec|ps" >&2
exit 1
"""


@pytest.fixture
def changed_release(cluster: Cluster) -> Iterator[str]:
    """The folder of the release on small, which has its own files again afterwards."""
    folder = cluster.release
    cluster.run("small", f"cp {folder}/graphistry /root/graphistry.before")
    yield folder
    cluster.run(
        "small",
        f"cp /root/graphistry.before {folder}/graphistry; cd {folder}; rm -f graphistry.theirs"
        " docker-compose.override.yml docker-compose.graphistry-cluster.yml"
        " /opt/graphistry-cluster/compose-files.json",
    )
    converged(cluster)


def converged(cluster: Cluster) -> Report:
    """What small says once it has converged anew."""
    cluster.restart_agent("small")
    cluster.until("small", lambda report: report["state"] == "converging")
    return cluster.until_ready("small")


def environment(cluster: Cluster, service: str) -> dict[str, str]:
    """The variables of a running container on small."""
    label = f"label=com.docker.compose.service={service}"
    shown = f"docker inspect --format '{{{{json .Config.Env}}}}' $(docker ps -q --filter {label})"
    given: list[str] = json.loads(cluster.run("small", shown))
    return {name: value for name, _, value in (each.partition("=") for each in given)}


def test_somebody_elses_override_stays_theirs(cluster: Cluster, changed_release: str) -> None:
    theirs = "services: {nexus: {environment: {THEIRS: own}}}"
    file = f"{changed_release}/docker-compose.override.yml"
    cluster.run("small", f"echo {shlex.quote(theirs)} > {file}")
    converged(cluster)
    assert cluster.run("small", f"cat {file}").strip() == theirs
    given = environment(cluster, "nexus")
    assert given["THEIRS"] == "own"
    assert "@redis:" not in given["REDIS_URL"]


def test_a_command_line_that_passes_no_config_is_done_without(
    cluster: Cluster, changed_release: str
) -> None:
    script = shlex.quote(NO_CONFIG)
    cluster.run(
        "small",
        f"cd {changed_release} && mv graphistry graphistry.theirs && printf %s {script} > graphistry"
        " && chmod 755 graphistry",
    )
    report = converged(cluster)
    assert check(report, "wiring")["ok"]
    assert cluster.run("small", "cat /opt/graphistry-cluster/compose-files.json")
