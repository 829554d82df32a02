"""The firewall's rules in a real kernel: networks of their own stand for the leader, its containers and other hosts."""

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from agent.graphistry import telemetry
from agent.phases.firewall import rules
from agent.specification import read
from tests.agent.fakes import specification_document

LEADER, FOLLOWER, STRANGER = "10.77.0.10", "10.77.0.11", "10.77.0.99"
METADATA = "169.254.169.254"
LISTEN = """
import socket, sys, time
servers = [socket.create_server(("", int(port))) for port in sys.argv[1:]]
print("listening", flush=True)
time.sleep(60)
"""
CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=0.7).close()
except ConnectionRefusedError:
    print("refused")
except OSError:
    print("filtered")
else:
    print("open")
"""
DATAGRAM = """
import socket, sys
one = socket.socket(type=socket.SOCK_DGRAM)
one.settimeout(0.7)
one.connect((sys.argv[1], int(sys.argv[2])))
one.send(b"any")
try:
    one.recv(1)
except ConnectionRefusedError:
    print("refused")
except OSError:
    print("filtered")
"""
ANSWERED = """
import socket, sys
print(socket.create_connection((sys.argv[1], 80), 0.7, source_address=("", int(sys.argv[2]))).getsockname()[1])
"""
DOCKER = f"""
table ip nat {{
  chain prerouting {{
    type nat hook prerouting priority dstnat;
    ip daddr {LEADER} tcp dport {{ 5432, 8000 }} dnat to 172.18.0.2
    fib daddr type local tcp dport 3000 dnat to 172.18.0.2
  }}
}}
"""
"""As Docker publishes a container's ports on one address, and on all of them."""


def command(*words: str, text: str | None = None) -> str:
    return subprocess.run(words, input=text, capture_output=True, text=True, check=True).stdout


pytestmark = pytest.mark.usefixtures("machines")  # it installs nft where that is missing


class Network:
    """Namespaces of this test's own, joined as hosts and containers are."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._names: list[str] = []
        self._servers: list[subprocess.Popen[str]] = []

    def machine(self, name: str) -> None:
        self._names.append(name)
        command("ip", "netns", "add", self._prefix + name)
        self.ip(name, "link", "set", "lo", "up")

    def ip(self, name: str, *words: str) -> None:
        command("ip", "-n", self._prefix + name, *words)

    def nft(self, name: str, text: str) -> None:
        self.inside(name, "nft", "-f", "-", text=text)

    def inside(self, name: str, *words: str, text: str | None = None) -> str:
        return command("ip", "netns", "exec", self._prefix + name, *words, text=text)

    def bridge(self, name: str, bridge: str, address: str) -> None:
        self.ip(name, "link", "add", bridge, "type", "bridge", "stp_state", "0")
        self.ip(name, "address", "add", address, "dev", bridge)
        self.ip(name, "link", "set", bridge, "up")

    def join(self, name: str, host: str, bridge: str, address: str, gateway: str = "") -> None:
        """Plug a machine into a bridge of *host*'s."""
        self.machine(name)
        end = f"to-{name}"
        peer = ["peer", "name", "eth0", "netns", self._prefix + name]
        self.ip(host, "link", "add", end, "type", "veth", *peer)
        self.ip(host, "link", "set", end, "master", bridge, "up")
        self.ip(name, "address", "add", address, "dev", "eth0")
        self.ip(name, "link", "set", "eth0", "up")
        if gateway:
            self.ip(name, "route", "add", "default", "via", gateway)

    def listen(self, name: str, *ports: int) -> None:
        words = [sys.executable, "-c", LISTEN, *map(str, ports)]
        server = subprocess.Popen(
            ["ip", "netns", "exec", self._prefix + name, *words], stdout=subprocess.PIPE, text=True
        )
        self._servers.append(server)
        assert server.stdout is not None
        assert server.stdout.readline() == "listening\n"

    def connect(self, name: str, port: int, address: str = LEADER) -> str:
        return self.inside(name, sys.executable, "-c", CONNECT, address, str(port)).strip()

    def udp(self, name: str, port: int, address: str) -> str:
        """Whether a datagram arrives, where nothing takes it."""
        return self.inside(name, sys.executable, "-c", DATAGRAM, address, str(port)).strip()

    def close(self) -> None:
        for server in self._servers:
            server.kill()
            server.communicate()
        for name in self._names:
            command("ip", "netns", "del", self._prefix + name)


@pytest.fixture
def network() -> Iterator[Network]:
    """A leader on the hosts' network, with one published container and another that is its client.

    The leader's way to the hosts' network is a bridge whose name begins as those of Docker do.
    """
    found = Network(f"gc{secrets.token_hex(3)}-")
    try:
        found.machine("leader")
        found.inside("leader", "sysctl", "-qw", "net.ipv4.ip_forward=1")
        found.bridge("leader", "br-lan", f"{LEADER}/24")
        found.bridge("leader", "docker0", "172.18.0.1/16")
        found.bridge("leader", "br-0123456789ab", "172.19.0.1/16")
        found.join("follower", "leader", "br-lan", f"{FOLLOWER}/24")
        found.join("stranger", "leader", "br-lan", f"{STRANGER}/24")
        found.join("postgres", "leader", "docker0", "172.18.0.2/16", "172.18.0.1")
        found.join("nexus", "leader", "br-0123456789ab", "172.19.0.2/16", "172.19.0.1")
        found.listen("leader", 6379, 2049, 80, 9091, 16686)
        found.listen("postgres", 5432, 8000, 3000)
        found.nft("leader", DOCKER)
        yield found
    finally:
        found.close()


@pytest.fixture(autouse=True)
def interfaces(network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The leader's, as the kernel lists them."""
    for name in network.inside("leader", "ls", "/sys/class/net").split():
        (tmp_path / "interfaces" / name).mkdir(parents=True)
    monkeypatch.setattr(telemetry, "INTERFACES", tmp_path / "interfaces")


@pytest.fixture
def text(tmp_path: Path) -> str:
    shared = {"kind": "nfs-on-leader", "folder": "/x", "clients": [FOLLOWER], "path": "/y"}
    document = specification_document(
        "leader",
        tmp_path,
        site={"kind": "hosts", "address": LEADER},
        agent={"sha256": "0" * 64},
        sharedFolder=shared,
        firewall={"allow": [FOLLOWER]},
        secret=None,
    )
    return rules(read(json.dumps(document).encode()))


def test_only_followers_reach_the_data_services(network: Network, text: str) -> None:
    before = {port: network.connect("stranger", port) for port in (5432, 6379, 2049)}
    assert before == {5432: "open", 6379: "open", 2049: "open"}
    network.nft("leader", text)
    # 5432 is a container's: Docker's rule takes the packet to another address.
    for port in (5432, 6379, 2049):
        assert network.connect("stranger", port) == "filtered", port
        assert network.connect("follower", port) == "open", port
        assert network.connect("leader", port) == ("refused" if port == 5432 else "open"), port


def test_a_container_of_the_leader_reaches_them_too(network: Network, text: str) -> None:
    network.nft("leader", text)
    for port in (5432, 6379):
        assert network.connect("nexus", port) == "open", port


def test_nothing_else_is_closed(network: Network, text: str) -> None:
    network.nft("leader", text)
    assert network.connect("stranger", 80) == "open"
    assert network.connect("stranger", 8000) == "open"
    network.listen("follower", 5432)
    assert network.connect("leader", 5432, FOLLOWER) == "open"
    # Somebody's own Redis, to which the leader is only the way.
    network.listen("nexus", 6379)
    network.ip("stranger", "route", "add", "172.19.0.0/16", "via", LEADER)
    assert network.connect("stranger", 6379, "172.19.0.2") == "open"


def test_other_rules_take_the_place_of_the_first_and_nobody_elses(
    network: Network, text: str
) -> None:
    network.nft("leader", text)
    network.nft("leader", text.replace(FOLLOWER, STRANGER))
    assert network.connect("stranger", 6379) == "open"
    assert network.connect("follower", 6379) == "filtered"
    tables = network.inside("leader", "nft", "list", "tables").splitlines()
    assert sorted(tables) == ["table inet graphistry_cluster", "table ip nat"]


def test_the_same_rules_are_listed_the_same(network: Network, text: str) -> None:
    """By the listing, the watch sees that somebody has changed them."""
    words = ("nft", "--stateless", "list", "table", "inet", "graphistry_cluster")
    network.nft("leader", text)
    first = network.inside("leader", *words)
    network.connect("follower", 6379)
    network.nft("leader", text)
    assert network.inside("leader", *words) == first
    network.inside("leader", "nft", "flush", "chain", "inet", "graphistry_cluster", "before_docker")
    assert network.inside("leader", *words) != first


@pytest.fixture
def aws_text(tmp_path: Path) -> str:
    return rules(read(json.dumps(specification_document("follower", tmp_path)).encode()))


@pytest.fixture
def metadata(network: Network) -> Network:
    """Somebody beyond the machine who answers where AWS has the metadata service."""
    network.join("metadata", "leader", "br-lan", f"{METADATA}/32")
    network.ip("metadata", "route", "add", "default", "via", LEADER, "dev", "eth0", "onlink")
    network.ip("leader", "route", "add", METADATA, "dev", "br-lan")
    network.listen("metadata", 80)
    return network


def test_a_container_does_not_reach_the_metadata_service_and_its_machine_does(
    metadata: Network, aws_text: str
) -> None:
    assert metadata.connect("postgres", 80, METADATA) == "open"
    metadata.nft("leader", aws_text)
    for container in ("postgres", "nexus"):
        assert metadata.connect(container, 80, METADATA) == "filtered"
    assert metadata.connect("leader", 80, METADATA) == "open"
    assert "fd00:ec2::254 drop" in metadata.inside("leader", "nft", "list", "ruleset")
    assert metadata.connect("nexus", 6379, LEADER) == "open"


def test_a_container_that_may_use_its_nodes_role_reaches_the_metadata_service(
    metadata: Network, tmp_path: Path
) -> None:
    document = specification_document("follower", tmp_path)
    document["site"]["containersUseRole"] = True
    metadata.nft("leader", rules(read(json.dumps(document).encode())))
    assert metadata.connect("nexus", 80, METADATA) == "open"


def followers_rules(tmp_path: Path, allow: Sequence[str]) -> str:
    """A follower's on hosts, which has no data services."""
    document = specification_document(
        "follower",
        tmp_path,
        site={"kind": "hosts", "address": FOLLOWER, "telemetry": {"allow": list(allow)}},
        agent={"sha256": "0" * 64},
        sharedFolder={"kind": "nfs", "server": LEADER, "export": "/x", "path": "/y"},
        secret=None,
    )
    return rules(read(json.dumps(document).encode()))


@pytest.fixture
def follower_text(tmp_path: Path) -> str:
    return followers_rules(tmp_path, [])


@pytest.mark.parametrize("which", ["aws_text", "follower_text", "text"])
def test_a_container_does_not_speak_to_a_file_server_as_its_node(
    network: Network, request: pytest.FixtureRequest, which: str
) -> None:
    """The machine called leader is any node here, and its follower the file server."""
    ports = (111, 2049, 20048)
    network.listen("follower", *ports, 443)
    network.ip("follower", "route", "add", "172.16.0.0/12", "via", LEADER)
    reached = {port: network.connect("nexus", port, FOLLOWER) for port in ports}
    assert reached == dict.fromkeys(ports, "open")
    network.nft("leader", request.getfixturevalue(which))
    for container in ("postgres", "nexus"):
        for port in ports:
            assert network.connect(container, port, FOLLOWER) == "filtered", port
        assert network.connect(container, 443, FOLLOWER) == "open"
    for port in ports:
        assert network.connect("leader", port, FOLLOWER) == "open", port
        assert network.udp("nexus", port, FOLLOWER) == "filtered", port
        assert network.udp("leader", port, FOLLOWER) == "refused", port


def test_a_file_server_in_a_bridges_own_network_is_nobodys_but_its_own(
    network: Network, follower_text: str
) -> None:
    """Docker has the kernel show it what a bridge passes on: virtual machines of the host's may be on one."""
    subprocess.run(["sh", "-c", "modprobe br_netfilter"], check=False, capture_output=True)
    if not Path("/proc/sys/net/bridge").exists():
        pytest.skip("this computer's kernel has no br_netfilter")
    network.nft("leader", follower_text)
    network.inside("leader", "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1")
    network.listen("follower", 2049)
    assert network.connect("stranger", 2049, FOLLOWER) == "open"


TELEMETRY = (3000, 9091, 16686)
"""A container's, which Docker publishes, and two of programs of the machine."""


@pytest.mark.parametrize("which", ["follower_text", "text"])
def test_telemetry_is_closed_to_other_machines(
    network: Network, request: pytest.FixtureRequest, which: str
) -> None:
    """The machine called leader is any node on hosts here, and the follower another one."""
    others = ("stranger", "follower")
    before = {(name, port): network.connect(name, port) for name in others for port in TELEMETRY}
    assert set(before.values()) == {"open"}
    network.nft("leader", request.getfixturevalue(which))
    for name in others:
        network.ip(name, "route", "add", "172.16.0.0/12", "via", LEADER)
        for port in TELEMETRY:
            # Docker's bridges have addresses of the machine's too.
            for address in (LEADER, "172.18.0.1", "172.19.0.1"):
                assert network.connect(name, port, address) == "filtered", (name, port, address)
        assert network.connect(name, 80) == "open"


def test_the_machine_and_its_containers_reach_its_telemetry(
    network: Network, follower_text: str
) -> None:
    network.nft("leader", follower_text)
    for address in (LEADER, "172.18.0.1", "172.19.0.1"):
        for port in TELEMETRY:
            assert network.connect("nexus", port, address) == "open", (port, address)
        for port in TELEMETRY[1:]:  # no container reaches itself by a port of the machine here
            assert network.connect("postgres", port, address) == "open", (port, address)
            assert network.connect("leader", port, address) == "open", (port, address)
    # Telemetry of other machines is theirs.
    network.listen("stranger", 3000)
    for name in ("leader", "nexus"):
        network.ip("stranger", "route", "replace", "172.16.0.0/12", "via", LEADER)
        assert network.connect(name, 3000, STRANGER) == "open"


def test_telemetry_is_open_to_whom_the_stack_file_names(network: Network, tmp_path: Path) -> None:
    network.nft("leader", followers_rules(tmp_path, []))
    # In place.
    allow = ["10.77.0.96/29", "10.77.0.99/32"]
    network.nft("leader", followers_rules(tmp_path, allow))
    for port in TELEMETRY:
        assert network.connect("stranger", port) == "open"
        assert network.connect("follower", port) == "filtered"


def test_an_answer_comes_to_a_port_of_telemetry(network: Network, follower_text: str) -> None:
    """A machine may be set up to ask others from any port."""
    network.nft("leader", follower_text)
    network.listen("stranger", 80)
    words = (sys.executable, "-c", ANSWERED, STRANGER, "8889")
    assert network.inside("leader", *words).strip() == "8889"


def test_telemetry_on_aws_is_for_security_groups(aws_text: str, follower_text: str) -> None:
    assert "chain telemetry" in follower_text
    assert "chain telemetry" not in aws_text
