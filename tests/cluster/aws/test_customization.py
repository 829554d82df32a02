"""What the stack file adds to the release reaches the running services, and goes again when it is taken out."""

from secrets import token_hex

from tests.cluster.nodes import Cluster
from tests.harness import ROOT

NODES = ("leader", "small", "large")
CADDYFILE = "data/config/Caddyfile"
MARK = "# of the stack file"
NAME = "graph.example.com"
TLS = f"""\
https://{NAME} {{
  tls internal
  respond /caddy/health/ `{{"success": true}}` 200
  reverse_proxy nginx:80
}}
"""
"""The vendor's sample, with Caddy's own authority for a certificate."""
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


def test_tls_by_a_caddyfile_is_reached_by_its_name_and_replaces_no_machine(
    cluster: Cluster,
) -> None:
    own = "tls.Caddyfile"
    (cluster.checkout.root / "stacks" / own).write_text(TLS)
    machines = {node: cluster.instance(node) for node in NODES}
    plain = "curl -s -o /dev/null -w '%{http_code} %{redirect_url}' http://localhost/healthz"
    try:
        cluster.checkout.change(configuration={"files": {CADDYFILE: f"stacks/{own}"}})
        cluster.succeed()
        started = {node: cluster.services_started(node) for node in NODES}
        for node in NODES:
            assert cluster.run(node, plain) == "308 https://localhost/healthz"
            http = f"http://{NAME} redirects to https: asked at https://{NAME}"
            found = {each["name"]: each for each in cluster.report(node)["checks"]}["http"]
            assert (found["ok"], found["detail"].endswith(http)) == (True, True), found
        proofs = cluster.proofs()
        assert all(each["kept"] for each in proofs), proofs
        assert len(proofs) > len(NODES)
        for node in NODES:
            cluster.until_ready(node)
            assert cluster.services_started(node) == started[node]
    finally:
        cluster.checkout.change(configuration=None)
        cluster.succeed()
    assert {node: cluster.instance(node) for node in NODES} == machines
    for node in NODES:
        assert cluster.run(node, plain) == "201 "
