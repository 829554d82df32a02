"""Phase firewall: no container passes for its node. None reaches a file server, which knows nodes by their addresses,
nor on AWS the instance metadata service, which gives away the node's role. On a leader without security groups, only
followers reach the data services; on no host do other machines reach telemetry that the stack file does not open.

A table of our own in nftables, so that nobody else's rules are touched. For the data services it looks at packets
before Docker rewrites their destination: a rule for incoming packets would never see those to a published port.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from agent.failures import Failure
from agent.folders import nfs
from agent.graphistry import telemetry
from agent.machine import packages, systemd, ufw
from agent.machine.commands import run
from agent.machine.files import write_private
from agent.node import HOME, UNITS, Node
from agent.phases import tunnel
from agent.sites import guests
from agent.specification import AwsPlace, HostPlace, NfsOnLeader, Specification

TABLE = "graphistry_cluster"
UNIT_NAME = "graphistry-cluster-firewall.service"
UNIT = """# graphistry-cluster
[Unit]
Description=Graphistry cluster: who reaches what by the network
# nftables.service empties every table when it starts.
After=nftables.service
Before=docker.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={nft} -f {rules}

[Install]
WantedBy=multi-user.target
"""
RULES = """# graphistry-cluster writes this file.
table inet {table} {{}}
delete table inet {table}
table inet {table} {{{chains}}}
"""
"""By the first two statements, this table takes the place of an earlier one in one step."""
DATA_SERVICES = """
	set allowed {{
		type ipv4_addr
		elements = {{ {addresses} }}
	}}
	chain before_docker {{
		type filter hook prerouting priority -150; policy accept;
		iif lo accept
		{way}ip saddr @allowed accept
		iifname "docker*" fib daddr . iif type != local accept
		iifname "br-*" fib daddr . iif type != local accept
		ip daddr {{ {own} }} tcp dport {{ {ports} }} drop{tunnel}
	}}
"""
"""The two rules before the last are for containers of this host: their bridges do not have the address."""
TUNNEL = """
		ip daddr {address} udp dport {port} ip saddr != {{ {peers} }} drop"""
"""Only with a key of theirs does anybody get through the tunnel; others need not even try."""
METADATA = """
	chain metadata {
		type filter hook forward priority -150; policy accept;
		ip daddr 169.254.169.254 drop
		ip6 daddr fd00:ec2::254 drop
	}
"""
"""What is forwarded comes from a container; the machine's own packets pass another hook."""
FILE_SERVERS = """
	chain file_servers {
		type filter hook forward priority -150; policy accept;
		iifname "docker*" meta l4proto { tcp, udp } th dport { 111, 2049, 20048 } fib daddr . iif oif missing drop
		iifname "br-*" meta l4proto { tcp, udp } th dport { 111, 2049, 20048 } fib daddr . iif oif missing drop
	}
"""
"""Beyond the bridge's own network, NFS and what its older versions ask first (rpcbind, mountd where its port is fixed).
What a bridge itself passes on, as of virtual machines on the host's own, Docker has the kernel show here too."""


def firewall(node: Node) -> None:
    """Let no container pass for its node, and nobody but the followers reach the data services where that is wanted."""
    specification = node.specification
    if not shutil.which("nft"):
        done = packages.install("nftables")
        if not shutil.which("nft"):
            raise Failure("FirewallUnavailable", "nftables cannot be installed", done.tail())
    write_private(_file(), rules(specification))
    loaded = run(["nft", "-f", str(_file())])
    if not loaded.succeeded:
        raise Failure("FirewallUnavailable", "nft takes no rules", loaded.tail())
    write_private(_listing(), _listed())
    systemd.write_unit(UNIT_NAME, UNIT.format(nft=shutil.which("nft"), rules=_file()))
    systemd.enable(UNIT_NAME)
    if specification.firewall is None:
        ufw.remove()  # of a time when this node was the leader
        return
    problems = ufw.allow(_ufw_rules(specification))
    if problems:
        raise Failure("FirewallUnavailable", "ufw takes no rules", problems)


def problem(node: Node) -> Failure | None:
    """What is no longer as the agent left it. Rules that want to be others by now, as a bridge has come or gone, are
    loaded anew and no problem. Raises Failure where that fails."""
    present = _listed()
    if not present:
        return Failure("FirewallChanged", f"the table {TABLE} of nftables is gone")
    try:
        known = _listing().read_text() == present
        current = _file().read_text() == rules(node.specification)
    except OSError:
        known = current = False
    if known and not current:
        firewall(node)
    if known:
        return None
    return Failure("FirewallChanged", f"the table {TABLE} of nftables is not as the agent made it")


def remove() -> None:
    """Take away the table, its unit and ufw's rules; nothing happens where there are none."""
    run(["systemctl", "disable", "--now", UNIT_NAME])
    run(["nft", "delete", "table", "inet", TABLE])
    ufw.remove()
    for file in (UNITS / UNIT_NAME, _file(), _listing()):
        if file.exists():
            file.unlink()
    run(["systemctl", "daemon-reload"])


def allowed(specification: Specification) -> list[str]:
    """This stack's followers, and those of others, by their private addresses."""
    return sorted({*(specification.firewall or ()), *guests.addresses()})


def _sources(specification: Specification) -> list[str]:
    """The addresses from which they come."""
    through, found = specification.tunnel, allowed(specification)
    return sorted(map(through.inside, found)) if through else found


def _ufw_rules(specification: Specification) -> list[ufw.Rule]:
    through, listed = specification.tunnel, ports(specification)
    own = specification.cluster_address
    rules = [ufw.Rule(each, own, listed, "tcp") for each in _sources(specification)]
    if through:
        outside, port = _address(specification), [through.port]
        rules += [ufw.Rule(each, outside, port, "udp") for each in allowed(specification)]
    return rules


def ports(specification: Specification) -> list[int]:
    """The data services', and NFS's where this leader has the shared folder."""
    found = {specification.postgres.port, specification.redis.port}
    if isinstance(specification.share, NfsOnLeader):
        found.add(nfs.PORT)
    return sorted(found)


def rules(specification: Specification) -> str:
    """What nft reads."""
    data_services = _data_services(specification) if specification.firewall is not None else ""
    metadata = METADATA if _guards_metadata(specification) else ""
    place = specification.place
    telemetrys = telemetry.rules(place) if isinstance(place, HostPlace) else ""
    return RULES.format(table=TABLE, chains=data_services + metadata + telemetrys + FILE_SERVERS)


def described(specification: Specification) -> str:
    """What the rules see to, in words."""
    others = f"; telemetry is {telemetry.reached(specification)}"
    if specification.firewall is not None:
        way = ", by WireGuard alone" if specification.tunnel else ""
        nodes = len(allowed(specification))
        return f"{nodes} nodes reach the data services, nobody else{way}{others}"
    closed = "a file server or the instance metadata service"
    return f"no container reaches {closed if _guards_metadata(specification) else 'a file server'}{others}"


def _guards_metadata(specification: Specification) -> bool:
    place = specification.place
    return isinstance(place, AwsPlace) and not place.containers_use_role


def _data_services(specification: Specification) -> str:
    outside, own = _address(specification), specification.cluster_address
    through, rule = specification.tunnel, ""
    if through:
        peers = ", ".join(sorted({outside, *allowed(specification)}))
        rule = TUNNEL.format(address=outside, port=through.port, peers=peers)
    return DATA_SERVICES.format(
        # An address inside that comes by another way is somebody else's invention.
        way=f'iifname "{tunnel.INTERFACE}" ' if through else "",
        own=", ".join(sorted({own, outside})),
        ports=", ".join(str(port) for port in ports(specification)),
        addresses=", ".join(sorted({own, *_sources(specification)})),
        tunnel=rule,
    )


def _address(specification: Specification) -> str:
    assert isinstance(specification.place, HostPlace)  # noqa: S101, others have no firewall here
    return specification.place.address


def _listed() -> str:
    """The table as it is now; empty where there is none."""
    done = run(["nft", "--stateless", "list", "table", "inet", TABLE])
    return done.output if done.succeeded else ""


def _file() -> Path:
    return HOME / "firewall.nft"


def _listing() -> Path:
    """The table as nft showed it right after it was made."""
    return HOME / "firewall.listed"
