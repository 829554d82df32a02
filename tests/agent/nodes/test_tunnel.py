"""The tunnel as it is: WireGuard's own tools on the agent's files, between networks that stand for hosts.

Where this computer's kernel has no WireGuard, `wg-quick` takes wireguard-go in its place: the same protocol.
"""

import json
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.failures import Failure
from agent.folders.nfs_server import clients
from agent.phases import tunnel
from agent.phases.firewall import rules
from agent.sites import guests
from agent.specification import NfsOnLeader, Specification, read
from model.tunnel import inside
from tests.agent.fakes import redirect, specification_document

from .test_firewall import CONNECT, command

pytestmark = pytest.mark.skipif(
    not (shutil.which("wg-quick") and shutil.which("wireguard-go")),
    reason="no wireguard-tools, wireguard-go",
)

LEADER, SMALL, LARGE, STRANGER = "10.77.0.10", "10.77.0.11", "10.77.0.12", "10.77.0.99"
ADDRESSES = {"leader": LEADER, "small": SMALL, "large": LARGE, "stranger": STRANGER}
MARK = b"select salary from staff"
SERVE = """
import socket, sys, threading
server = socket.create_server(("", int(sys.argv[1])))
print("listening", flush=True)
while True:
    connection, _ = server.accept()
    threading.Thread(target=lambda c: (c.sendall(c.recv(4096)), c.close()), args=(connection,)).start()
"""
SAY = f"""
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5) as connection:
    connection.sendall({MARK!r})
    print(connection.recv(4096).decode())
"""
LISTEN_IN = f"""
import select, socket, sys, time
sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3))
sniffer.bind(("lan", 0))
print("listening", flush=True)
plain = encrypted = 0
while True:
    ready, _, _ = select.select([sniffer, sys.stdin], [], [])
    if sniffer in ready:
        packet = sniffer.recv(65535)
        plain += {MARK!r} in packet
        encrypted += packet[23:24] == bytes([17]) and packet[36:38] == (51820).to_bytes(2, "big")
    elif not sys.stdin.readline():
        break
print(plain, encrypted)
"""

ARRIVED = f"""
table inet arrived {{
  chain input {{
    type filter hook input priority 0;
    iifname "lan" ip saddr {{ {STRANGER}, {inside(SMALL)} }} meta l4proto {{ tcp, udp }} counter
  }}
}}
"""
"""What comes from the stranger, or says to come from a follower, and nobody has dropped before."""

pytestmark = pytest.mark.usefixtures("machines")


class Host:
    """A network and a file system of its own: sockets of wireguard-go are files, named after the interface."""

    def __init__(self, prefix: str, name: str) -> None:
        self._name, self._running = prefix + name, list[subprocess.Popen[str]]()
        command("ip", "netns", "add", self._name)
        words = "mkdir -p /run/wireguard && mount -t tmpfs none /run/wireguard && echo up && exec sleep 600"
        first = self._start(["ip", "netns", "exec", self._name, "sh", "-c", words], "up")
        self._inside = ["nsenter", "--target", str(first.pid), "--mount", "--net"]
        self.run("ip", "link", "set", "lo", "up")

    def join(self, switch: str, address: str) -> None:
        end = f"to-{self._name}"[:15]
        command("ip", "-n", switch, "link", "add", end, "type", "veth", "peer", "name", "lan")
        command("ip", "-n", switch, "link", "set", "lan", "netns", self._name)
        command("ip", "-n", switch, "link", "set", end, "master", "switch", "up")
        self.run("ip", "address", "add", f"{address}/24", "dev", "lan")
        self.run("ip", "link", "set", "lan", "up")
        self.run("ip", "route", "add", "default", "via", STRANGER)

    def run(self, *words: str, text: str | None = None) -> str:
        return command(*self._inside, *words, text=text)

    def python(self, script: str, *words: str) -> str:
        return self.run(sys.executable, "-c", script, *words).strip()

    def start(self, script: str, *words: str) -> subprocess.Popen[str]:
        return self._start([*self._inside, sys.executable, "-c", script, *words], "listening")

    def _start(self, words: list[str], first: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == f"{first}\n"
        return process

    def close(self) -> None:
        subprocess.run([*self._inside, "ip", "link", "delete", tunnel.INTERFACE], check=False)
        for process in reversed(self._running):
            process.kill()
            process.communicate()
        command("ip", "netns", "del", self._name)


class Lan:
    """A leader, two followers and a stranger in one network, each with the agent's files."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._root, self._monkeypatch = root, monkeypatch
        prefix = f"gc{secrets.token_hex(3)}-"
        self.switch = f"{prefix}s"
        command("ip", "netns", "add", self.switch)
        command("ip", "-n", self.switch, "link", "add", "switch", "type", "bridge")
        command("ip", "-n", self.switch, "link", "set", "switch", "up")
        self.hosts = {name: Host(prefix, name[:2]) for name in ADDRESSES}
        for name, address in ADDRESSES.items():
            self.hosts[name].join(self.switch, address)
        self.keys = {name: self.at(name, tunnel.public_key) for name in ADDRESSES}

    def at(self, name: str, function: Any, *words: Any) -> Any:
        """Call a function of the agent with the disk of a host."""
        redirect(self._monkeypatch, "STORE", self._root / name)
        return function(*words)

    def specification(self, name: str, *followers: str) -> Specification:
        return specification(name, *followers)

    def exchange(self, *followers: str) -> None:
        """What operate/steps/host_tunnel.py does."""
        for name in followers:
            self.at("leader", tunnel.meet, ADDRESSES[name], self.keys[name])
            self.at(name, tunnel.meet, LEADER, self.keys["leader"])

    def write(self, name: str, *followers: str) -> Path:
        """The configuration of a host, as the agent writes it."""
        found = self.specification(name, *followers)
        assert found.tunnel is not None
        file = self._root / name / f"{tunnel.INTERFACE}.conf"
        key = (self._root / name / "tunnel" / "private.key").read_text().strip()
        file.write_text(self.at(name, tunnel.configuration, found, found.tunnel, key))
        file.chmod(0o600)
        return file

    def up(self, name: str, *followers: str) -> None:
        self.hosts[name].run("wg-quick", "up", str(self.write(name, *followers)))

    def say(self, name: str, address: str) -> str:
        return self.hosts[name].python(SAY, address, "5432")

    def connect(self, name: str, address: str, port: int = 5432) -> str:
        return self.hosts[name].python(CONNECT, address, str(port))

    def overheard(self, name: str, *conversation: Any) -> tuple[int, int]:
        """Packets with the words, and packets of WireGuard, in the network of a host meanwhile."""
        process = self.hosts[name].start(LISTEN_IN)
        function, *words = conversation
        function(*words)
        time.sleep(0.3)
        output, _ = process.communicate()
        plain, encrypted = output.split()
        return int(plain), int(encrypted)

    def close(self) -> None:
        for host in self.hosts.values():
            host.close()
        command("ip", "netns", "del", self.switch)


def specification(name: str, *followers: str) -> Specification:
    is_leader = name == "leader"
    allowed = [ADDRESSES[each] for each in followers]
    document = specification_document(
        "leader" if is_leader else "follower",
        Path("/y"),
        site={
            "kind": "hosts",
            "address": ADDRESSES[name],
            "tunnel": {"network": "198.18.0.0/15", "port": 51820, "leader": LEADER},
        },
        agent={"sha256": "0" * 64},
        sharedFolder={"kind": "nfs-on-leader", "folder": "/x", "clients": allowed, "path": "/y"},
        firewall={"allow": allowed} if is_leader else None,
        secret=None,
    )
    return read(json.dumps(document).encode())


@pytest.fixture
def lan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lan]:
    found = Lan(tmp_path, monkeypatch)
    try:
        yield found
    finally:
        found.close()


@pytest.fixture
def connected(lan: Lan) -> Lan:
    """Leader and small know each other, and something of the leader's answers on PostgreSQL's port."""
    lan.exchange("small")
    lan.up("leader", "small")
    lan.up("small")
    lan.hosts["leader"].start(SERVE, "5432")
    return lan


def test_what_goes_through_the_tunnel_is_not_readable_in_the_network(connected: Lan) -> None:
    plain, encrypted = connected.overheard("leader", connected.say, "small", LEADER)
    assert plain >= 2  # without the tunnel, the question and the answer
    plain, encrypted = connected.overheard("leader", connected.say, "small", inside(LEADER))
    assert plain == 0
    assert encrypted >= 2


def test_followers_have_no_way_to_each_other(connected: Lan) -> None:
    connected.exchange("large")
    connected.up("large")
    connected.hosts["large"].start(SERVE, "5432")
    assert connected.connect("small", inside(LARGE)) == "filtered"


def test_only_who_has_a_key_gets_through(connected: Lan) -> None:
    """A stranger that knows everything but a private key, with the address inside of a follower."""
    connected.at("stranger", tunnel.meet, LEADER, connected.keys["leader"])
    connected.up("stranger")
    assert connected.connect("stranger", inside(LEADER)) == "filtered"
    assert connected.connect("small", inside(LEADER)) == "open"


def test_the_firewall_lets_nobody_in_beside_the_tunnel(connected: Lan) -> None:
    text = rules(specification("leader", "small"))
    connected.hosts["leader"].run("nft", "-f", "-", text=text)
    assert connected.connect("small", inside(LEADER)) == "open"
    assert connected.connect("small", LEADER) == "filtered"
    assert connected.connect("stranger", LEADER) == "filtered"
    assert connected.connect("leader", inside(LEADER)) == "open"
    # The address inside of a follower, from somebody who is in the same network.
    stranger = connected.hosts["stranger"]
    stranger.run("ip", "address", "add", f"{inside(SMALL)}/32", "dev", "lan")
    stranger.run("ip", "route", "add", inside(LEADER), "via", LEADER, "src", inside(SMALL))
    # The answer goes to the true one: whether the question arrives is what the leader counts.
    connected.hosts["leader"].run("sysctl", "-qw", "net.ipv4.conf.lan.rp_filter=0")
    connected.hosts["leader"].run("nft", "-f", "-", text=ARRIVED)
    assert connected.connect("stranger", inside(LEADER)) == "filtered"
    assert "packets 0 " in connected.hosts["leader"].run("nft", "list", "table", "inet", "arrived")
    # Nor is a packet of WireGuard from somebody who is none of the followers taken.
    connected.at("stranger", tunnel.meet, LEADER, connected.keys["leader"])
    connected.up("stranger")
    connected.connect("stranger", inside(LEADER))
    assert "packets 0 " in connected.hosts["leader"].run("nft", "list", "table", "inet", "arrived")


def test_nothing_leaves_as_plain_text_while_the_tunnel_is_down(connected: Lan) -> None:
    connected.hosts["small"].run("ip", "link", "delete", "dev", tunnel.INTERFACE)

    def say() -> None:
        assert connected.connect("small", inside(LEADER)) == "filtered"

    syn = connected.overheard("stranger", say)
    assert syn[0] == 0
    ways = connected.hosts["small"].run("ip", "route", "show", "type", "unreachable")
    assert "198.18.0.0/15" in ways


def test_a_follower_more_or_less_disturbs_no_other(connected: Lan) -> None:
    connected.say("small", inside(LEADER))
    leader = connected.hosts["leader"]

    def handshakes() -> dict[str, str]:
        lines = leader.run("wg", "show", tunnel.INTERFACE, "latest-handshakes").splitlines()
        return dict(line.split("\t") for line in lines)

    def sync() -> None:
        file = connected._root / "leader" / f"{tunnel.INTERFACE}.conf"
        script = f"exec wg syncconf {tunnel.INTERFACE} <(exec wg-quick strip {file})"
        assert script.replace(str(file), "{file}").replace(tunnel.INTERFACE, "{interface}") in (
            tunnel.UNIT.replace("{wg}", "wg").replace("{wg_quick}", "wg-quick")
        )
        leader.run("bash", "-c", script)

    before = handshakes()[connected.keys["small"]]
    assert before != "0"
    connected.exchange("large")
    connected.write("leader", "small", "large")
    sync()
    connected.up("large")
    assert connected.say("large", inside(LEADER)) == MARK.decode()
    assert handshakes()[connected.keys["small"]] == before
    connected.write("leader", "large")
    sync()
    assert list(handshakes()) == [connected.keys["large"]]
    assert connected.connect("small", inside(LEADER)) == "filtered"
    assert connected.say("large", inside(LEADER)) == MARK.decode()


def test_the_private_key_is_roots_alone_and_made_once(lan: Lan, tmp_path: Path) -> None:
    file = tmp_path / "small" / "tunnel" / "private.key"
    assert file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "small" / "tunnel").stat().st_mode & 0o777 == 0o700
    assert lan.at("small", tunnel.public_key) == lan.keys["small"] != file.read_text().strip()
    file.unlink()
    assert lan.at("small", tunnel.public_key) != lan.keys["small"]


def test_the_mtu_leaves_room_for_what_wireguard_adds(connected: Lan) -> None:
    shown = connected.hosts["small"].run("ip", "link", "show", tunnel.INTERFACE)
    assert " mtu 1420 " in shown


def test_exports_name_the_addresses_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    redirect(monkeypatch, "STORE", tmp_path)
    share = specification("leader", "small").share
    assert isinstance(share, NfsOnLeader)
    (tmp_path / "guests").mkdir()
    (tmp_path / "guests" / "team.json").write_text(json.dumps([LARGE]))
    assert guests.addresses() == [LARGE]
    assert clients(share) == [inside(SMALL), inside(LARGE)]


@pytest.mark.parametrize("key", ["", "short", "A" * 43 + "!", "A" * 40])
def test_what_is_no_public_key_is_refused(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    redirect(monkeypatch, "STORE", tmp_path)
    with pytest.raises(Failure) as refused:
        tunnel.meet(SMALL, key)
    assert refused.value.code == "TunnelPeerRefused"
    with pytest.raises(Failure):
        tunnel.meet("../../etc", "A" * 43 + "=")
    assert not list(tmp_path.rglob("*"))


def test_both_sides_reckon_the_same_address_inside() -> None:
    wanted = specification("leader").tunnel
    assert wanted is not None
    for address in (LEADER, "10.21.255.254", "192.168.1.1", "172.31.7.9"):
        assert wanted.inside(address) == inside(address)
    assert inside("10.20.0.10") == "198.18.0.10"
    assert inside("10.21.0.10") == "198.19.0.10"
