"""Phase tunnel: WireGuard between the leader and each follower, where the stack file asks for it.

A star: data services and folder are the leader's, so followers have no way to each other. The private key is born here
and stays here; the operator's computer carries the public ones (`tunnel-key`, `tunnel-peer`). All that is between two
hosts is WireGuard's own: no relay, no names, one UDP port.
"""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import os
import shutil
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from agent import limits
from agent.failures import Failure
from agent.machine import packages, ports, systemd
from agent.machine.commands import run
from agent.machine.files import write_private
from agent.node import HOME, UNITS, Node
from agent.sites import guests, store
from agent.sites.store import STORE
from agent.specification import Specification, Tunnel

INTERFACE = "graphistry"
"""wg-quick calls it as the file is called; 15 letters at most."""
KEEPALIVE_SECONDS = 25
"""Longest silence of a follower: firewalls in between forget a UDP flow after 30 s (WireGuard: quick start)."""
STALE_SECONDS = 190.0
"""Age of a handshake by which nothing gets through any more: keys are refused after 180 s, and with a keepalive there
is a new handshake every 120 s (WireGuard: protocol, REJECT_AFTER_TIME and REKEY_AFTER_TIME)."""
UNIT_NAME = "graphistry-cluster-tunnel.service"
UNIT = """# graphistry-cluster
[Unit]
Description=Graphistry cluster: WireGuard between the leader and its followers
Wants=network-online.target remote-fs-pre.target
After=network-online.target
# The shared folder is mounted through it, and Docker publishes ports on its address.
Before=remote-fs-pre.target docker.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStartPre=-{ip} link delete dev {interface}
ExecStart={wg_quick} up {file}
ExecReload={bash} -c 'exec {wg} syncconf {interface} <(exec {wg_quick} strip {file})'
ExecStop=-{ip} link delete dev {interface}

[Install]
WantedBy=multi-user.target
"""
OWN = """# graphistry-cluster writes this file.
[Interface]
PrivateKey = {key}
Address = {address}/32
ListenPort = {port}
Table = off
PreUp = ip route replace unreachable {network} metric 9999
PostUp = ip route replace {network} dev %i
"""
"""Without the first of the two routes, what is meant for the tunnel would leave by the host's default route, readable,
whenever the tunnel is down. The second covers every peer, so that one more or less changes no route."""
PEER = """
[Peer]
PublicKey = {key}
Endpoint = {endpoint}:{port}
AllowedIPs = {address}/32
PersistentKeepalive = {keepalive}
"""


@dataclass(frozen=True)
class Peer:
    """What WireGuard shows of another node."""

    inside: str
    age: float | None
    """Seconds since the last handshake; None where there was none."""
    received: int
    sent: int

    @property
    def is_heard(self) -> bool:
        """Whether it takes part at the moment."""
        return self.age is not None and self.age < STALE_SECONDS


def tunnel(node: Node) -> None:
    """Let the tunnel be as the specification says; a follower waits until the leader answers through it."""
    wanted = node.specification.tunnel
    if wanted is None:
        remove()  # of a time when this node had one
        return
    bring_up(node.specification)
    if not node.specification.is_leader:
        _wait_for_leader(node.specification, wanted)


def bring_up(specification: Specification) -> None:
    """Make the interface with all peers that are known; others are not disturbed by one that comes or goes."""
    wanted = specification.tunnel
    if wanted is None:
        return
    require_tools()
    if not _key_file().exists() and _file().exists() and _is_up():
        return  # somebody wants another key: this one holds until the deployment carries the new one to the others
    text = configuration(specification, wanted, _private_key())
    is_new = write_private(_file(), text)
    unit = UNIT.format(
        interface=INTERFACE,
        file=_file(),
        **{name.replace("-", "_"): shutil.which(name) for name in ("ip", "wg", "wg-quick", "bash")},
    )
    is_new_unit = systemd.write_unit(UNIT_NAME, unit)
    systemd.enable(UNIT_NAME)
    is_active = run(["systemctl", "is-active", UNIT_NAME]).output.strip() == "active"
    stays = (
        is_active and _is_up() and not is_new_unit and ports.is_own(specification.cluster_address)
    )
    if stays and not is_new and not _is_changed(specification):
        return
    verb = "reload" if stays else "restart"
    run(["systemctl", "reset-failed", UNIT_NAME])
    done = run(["systemctl", verb, UNIT_NAME], seconds=90)
    if not done.succeeded or not _is_up():
        words = ["journalctl", "-u", UNIT_NAME, "-n", "10", "--no-pager", "-o", "cat"]
        log = [*done.tail(), *run(words).output.splitlines()]
        raise Failure("TunnelUnavailable", "WireGuard's interface does not come up", log[-20:])


def require_tools() -> None:
    """Install WireGuard's tools where the host has none; raises Failure TunnelUnavailable."""
    if shutil.which("wg") and shutil.which("wg-quick"):
        return
    done = packages.install("wireguard-tools")
    if not (shutil.which("wg") and shutil.which("wg-quick")):
        message = "wireguard-tools cannot be installed"
        raise Failure("TunnelUnavailable", message, done.tail())


def configuration(specification: Specification, wanted: Tunnel, key: str) -> str:
    """What wg-quick reads; it has the private key, and is root's alone."""
    own = OWN.format(
        key=key, address=specification.cluster_address, port=wanted.port, network=wanted.network
    )
    peers = (
        PEER.format(
            key=public,
            endpoint=address,
            port=wanted.port,
            address=wanted.inside(address),
            keepalive=KEEPALIVE_SECONDS,
        )
        for address, public in sorted(peers_of(specification, wanted).items())
    )
    return own + "".join(peers)


def peers_of(specification: Specification, wanted: Tunnel) -> dict[str, str]:
    """Private address to public key: a follower's leader; a leader's followers, and those of stacks that join it, whose
    keys were brought."""
    known = _known()
    if not specification.is_leader:
        return {each: known[each] for each in (wanted.leader,) if each in known}
    let_in = {*(specification.firewall or ()), *guests.addresses()}
    return {address: key for address, key in known.items() if address in let_in}


def public_key() -> str:
    """This host's, whose private one is made where there is none."""
    require_tools()
    return _public(_private_key())


def meet(address: str, key: str) -> str:
    """Know another node by its public key from now on; one line about it. Raises Failure TunnelPeerRefused."""
    try:
        address = str(ipaddress.IPv4Address(address))
        if len(base64.b64decode(key, validate=True)) != 32:
            raise ValueError("a public key has 32 bytes")
    except ValueError as error:
        raise Failure("TunnelPeerRefused", f"{address}: {error}") from error
    store.ensure()
    _make_folder(_folder() / "peers")
    changed = write_private(_folder() / "peers" / address, f"{key}\n")
    return f"{address} is {'known by its key' if changed else 'known already'}"


def news() -> tuple[object, ...]:
    """What `tunnel-key` and `tunnel-peer` change, for the agent to notice."""
    try:
        made: int | None = (_key_file()).stat().st_mtime_ns
    except OSError:
        made = None
    return made, tuple(sorted(_known().items()))


def is_whole(specification: Specification) -> bool:
    """Whether keys are there and, on a follower, the leader answers: else the deployment carries the keys again."""
    wanted = specification.tunnel
    if wanted is None:
        return True
    if not _key_file().exists():
        return False
    if specification.is_leader:
        return True
    if not peers_of(specification, wanted):
        return False
    failure = problem(specification)
    return failure is None or failure.code == "TunnelChanged"


def problem(specification: Specification) -> Failure | None:
    """What keeps traffic from going through the tunnel."""
    wanted = specification.tunnel
    assert wanted is not None  # noqa: S101, else nobody asks
    shown = shown_peers()
    if shown is None:
        return Failure("TunnelChanged", f"the interface {INTERFACE} is gone")
    expected = {key: wanted.inside(each) for each, key in peers_of(specification, wanted).items()}
    if {key: peer.inside for key, peer in shown.items()} != expected:
        return Failure("TunnelChanged", f"{INTERFACE} has other peers than the agent gave it")
    own = specification.cluster_address
    others = list(expected.values())
    strays = [each for each in others if _source(each) != own]
    if strays:
        return Failure("TunnelChanged", f"the way to {strays[0]} is not through {INTERFACE}")
    silent = [peer for peer in shown.values() if not peer.is_heard]
    if not specification.is_leader and (silent or not shown):
        age = silent[0].age if silent else None
        since = (
            "there was no handshake" if age is None else f"the last handshake was {age:.0f} s ago"
        )
        return Failure(
            "TunnelDown", f"the leader ({wanted.leader}, UDP {wanted.port}) is silent: {since}"
        )
    return None


def described(specification: Specification) -> str:
    """Who takes part, in words."""
    found = list((shown_peers() or {}).values())
    heard = [each for each in found if each.is_heard]
    if not specification.is_leader:
        return f"the leader's handshake is {heard[0].age:.0f} s old" if heard else "no handshake"
    silent = [each.inside for each in found if not each.is_heard]
    rest = f"; silent: {', '.join(silent)}" if silent else ""
    return f"{len(heard)} of {len(found)} followers by WireGuard{rest}"


def shown_peers() -> dict[str, Peer] | None:
    """Public key to peer, as the interface has them; None where there is no interface.

    The first line of the output has the private key: it goes nowhere.
    """
    done = run(["wg", "show", INTERFACE, "dump"], seconds=20)
    if not done.succeeded:
        return None
    found = {}
    for line in done.output.splitlines()[1:]:
        key, _, _, allowed, handshake, received, sent, _ = line.split("\t")
        age = max(time.time() - int(handshake), 0.0) if handshake != "0" else None
        found[key] = Peer(allowed.partition("/")[0], age, int(received), int(sent))
    return found


def remove() -> None:
    """Take the interface, its unit and its routes away, where they are ours; keys stay."""
    if not (UNITS / UNIT_NAME).exists() and not _file().exists():
        return
    run(["systemctl", "disable", "--now", UNIT_NAME])
    run(["ip", "link", "delete", "dev", INTERFACE])
    if _file().exists():
        text = _file().read_text()
        for line in text.splitlines():
            if line.startswith("PreUp = ip route replace "):
                run(["ip", "route", "delete", *line.split()[5:]])
        _file().unlink()
    if (UNITS / UNIT_NAME).exists():
        (UNITS / UNIT_NAME).unlink()
    run(["systemctl", "daemon-reload"])


def forget_keys() -> None:
    """A follower that leaves its cluster keeps no key of it."""
    shutil.rmtree(_folder(), ignore_errors=True)


def _wait_for_leader(specification: Specification, wanted: Tunnel) -> None:
    """Raises Failure TunnelNotExchanged where nobody brought the leader's key, TunnelDown where it does not answer."""
    end = time.monotonic() + limits.PATIENCE
    while True:
        if not peers_of(specification, wanted):
            failure: Failure | None = Failure(
                "TunnelNotExchanged", f"the public key of the leader ({wanted.leader}) is not here"
            )
        else:
            bring_up(specification)
            failure = problem(specification)
        if failure is None:
            return
        if time.monotonic() > end:
            raise failure
        print(f"waiting: {failure.message}", flush=True)
        time.sleep(1)


def _source(address: str) -> str:
    """The own address from which a packet to *address* would go; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def _is_changed(specification: Specification) -> bool:
    failure = problem(specification)
    return failure is not None and failure.code == "TunnelChanged"


def _is_up() -> bool:
    return run(["wg", "show", INTERFACE, "listen-port"], seconds=20).succeeded


def _key_file() -> Path:
    return _folder() / "private.key"


def _private_key() -> str:
    """The host's own, made where there is none: never over one that is there, and whole or not at all."""
    file = _key_file()
    if not file.exists():
        made = run(["wg", "genkey"])
        if not made.succeeded:
            raise Failure("TunnelUnavailable", "wg makes no key", made.tail())
        store.ensure()
        _make_folder(_folder())
        partial = _folder() / f".private.key.{os.getpid()}"
        write_private(partial, made.output)
        with contextlib.suppress(FileExistsError):
            os.link(partial, file)
        partial.unlink()
    return file.read_text().strip()


def _public(private: str) -> str:
    done = run(["wg", "pubkey"], text=f"{private}\n")
    if not done.succeeded:
        raise Failure("TunnelUnavailable", f"{_key_file()} holds no key")
    return done.output.strip()


def _known() -> dict[str, str]:
    """Private address to public key of every node that was brought."""
    found = {}
    for file in sorted((_folder() / "peers").glob("[0-9]*")):
        with contextlib.suppress(OSError):
            found[file.name] = file.read_text().strip()
    return found


def _make_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _folder() -> Path:
    return STORE / "tunnel"


def _file() -> Path:
    return HOME / "tunnel" / f"{INTERFACE}.conf"
