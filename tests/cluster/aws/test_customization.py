"""What the stack file adds to the release reaches the running services, and goes again when it is taken out."""

from secrets import token_hex

from tests.cluster.nodes import Cluster
from tests.harness import ROOT

NODES = ("leader", "small", "large")
CADDYFILE = "data/config/Caddyfile"
MARK = "# of the stack file"
PLAIN, SECRET = "COOKIE_SECURE", "SMTP_PASSWORD"


def variable(cluster: Cluster, node: str, service: str, name: str) -> str | None:
    """A variable of a running service; None where it has none of this name."""
    container = cluster.service(node, service)
    found = cluster.run(node, f"docker exec {container} printenv {name} || echo none there")
    return None if found == "none there\n" else found[:-1]


def caddyfile(cluster: Cluster, node: str) -> str:
    return cluster.run(
        node, f"docker exec {cluster.service(node, 'caddy')} cat /etc/caddy/Caddyfile"
    )


def test_variables_secrets_and_files_reach_the_services_and_go_again(cluster: Cluster) -> None:
    checkout, password = cluster.checkout, token_hex(12)
    text = (ROOT / "sandbox/release/files" / CADDYFILE).read_text()
    (checkout.root / "stacks" / "own.Caddyfile").write_text(f"{text}{MARK}\n")
    key = f"graphistry-cluster:secretEnv.{SECRET}"
    stored = checkout.pulumi(
        "config", "set", "--stack", checkout.stack, "--secret", "--path", key, password
    )
    assert stored.returncode == 0, stored.stderr
    checkout.change(
        configuration={"env": {PLAIN: "true"}, "files": {CADDYFILE: "stacks/own.Caddyfile"}}
    )
    started = {node: cluster.services_started(node) for node in NODES}
    said = cluster.succeed()
    for node in NODES:
        assert variable(cluster, node, "nexus", PLAIN) == "true"
        assert variable(cluster, node, "nexus", SECRET) == password
        assert variable(cluster, node, "notebook", SECRET) == ""
        assert MARK in caddyfile(cluster, node)
        assert cluster.services_started(node)["nexus"] != started[node]["nexus"]
        said += cluster.run(node, "journalctl -u graphistry-cluster-agent -o cat --no-pager")
        said += str(cluster.report(node))
    assert password not in said

    checkout.change(configuration=None, secretEnv=None)
    cluster.succeed()
    for node in NODES:
        assert [variable(cluster, node, "nexus", name) for name in (PLAIN, SECRET)] == [None, None]
        assert caddyfile(cluster, node) == text
        assert password not in cluster.run(node, f"cat {cluster.release}/data/config/custom.env")
