"""``./cluster prove``: the promises of a cluster, tried on the running nodes.

Every promise is tried from the nodes themselves, by the agent's ``exercise`` commands, which use nothing but the
product's own pages, its REST API and its management shell.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model.specification import POSTGRES_PORT, REDIS_PORT, RUN_AGENT
from operate.stack.run_command import Answer

AGENT = f"{RUN_AGENT} exercise"
CONNECT_SECONDS = 3

SSL_REQUEST = bytes([0, 0, 0, 8, 4, 210, 22, 47])
"""Asks a PostgreSQL whether it speaks TLS; it answers in one byte (PostgreSQL: message formats, SSLRequest)."""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """One promise on one node, and what was seen."""

    promise: str
    node: str
    kept: bool | None
    """None where nobody could tell: that is not green."""
    seen: str


@dataclass(frozen=True, kw_only=True)
class Nodes:
    """The running nodes and how to reach them."""

    addresses: Mapping[str, str]
    """Node to private address, the leader first."""
    run: Callable[[Sequence[str], str], Mapping[str, Answer]]
    """Runs a shell command as root on nodes; what it answers on each."""
    specification: Callable[[str], Mapping[str, Any]]
    """What a node should be."""
    inside: Mapping[str, str] | None = None
    """Node to its address inside the tunnel, where hosts have one."""

    @property
    def followers(self) -> list[str]:
        """Every node but the leader."""
        return [node for node in self.addresses if node != "leader"]

    def exercise(self, words: str, *nodes: str) -> dict[str, dict[str, Any]]:
        """What an exercise answers on each of *nodes* (all when none is named); ``{"error": ...}`` where it failed."""
        chosen = nodes or tuple(self.addresses)
        answers = self.run(chosen, f"{AGENT} {words}")
        found: dict[str, dict[str, Any]] = {}
        for node in chosen:
            try:
                found[node] = answers[node].json()
            except ValueError as error:
                found[node] = {"error": str(error)}
        return found


def proofs(nodes: Nodes) -> Iterator[Proof]:
    """Try every promise, one after the other; each proof is yielded as soon as it is known."""
    for promise in (
        uploads_are_read_everywhere,
        accounts_hold_everywhere,
        services_talk_to_the_right_data,
        postgres_runs_on_the_leader_only,
        data_services_are_closed_to_strangers,
        workers_follow_the_profile,
        traffic_is_encrypted,
    ):
        yield from promise(nodes)


def uploads_are_read_everywhere(nodes: Nodes) -> Iterator[Proof]:
    """A dataset uploaded on one node is read and visualized on every other, and gone on all when one deletes it."""
    for origin in ["leader", *nodes.followers[:1]]:
        name = f"proof-{secrets.token_hex(4)}"
        uploaded = nodes.exercise(f"upload {name}", origin)[origin]
        dataset = uploaded.get("datasetId")
        yield Proof(
            promise="upload",
            node=origin,
            kept=judged(uploaded, bool(dataset)),
            seen=f"dataset {dataset}" if dataset else said(uploaded),
        )
        if not dataset:
            continue
        others = [node for node in nodes.addresses if node != origin] or [origin]
        for node, answer in nodes.exercise(f"read {dataset}", *others).items():
            edges = answer.get("edges")
            yield Proof(
                promise=f"read what {origin} got",
                node=node,
                kept=judged(answer, "edges" in answer and edges != 0),
                seen=said(answer) if "edges" not in answer else read(edges),
            )
        for node, answer in nodes.exercise(f"visualize {dataset}", *others).items():
            yield from visualized(origin, node, answer)
        yield from deleted_everywhere(nodes, dataset, others[-1])


def read(edges: int | None) -> str:
    """What was read of a dataset; releases differ in whether its description counts edges."""
    return "its description, which counts no edges" if edges is None else f"{edges} edges"


def visualized(origin: str, node: str, answer: Mapping[str, Any]) -> Iterator[Proof]:
    """A session that was opened by its socket, as the page opens it, and where it is kept."""
    opened = answer.get("newLocalKeys", [])
    yield Proof(
        promise=f"visualize what {origin} got",
        node=node,
        kept=judged(answer, answer.get("answered") is True),
        seen="the session answers" if answer.get("answered") else said(answer),
    )
    if node == "leader":
        return
    strays = answer.get("alsoOnLeader", [])
    has_none = answer.get("answered") is True and not opened
    kept = None if has_none else judged(answer, bool(opened) and not strays)
    yield Proof(
        promise="StreamGL's session stays on its node",
        node=node,
        kept=kept,
        seen={
            True: f"{', '.join(opened)} in its own Redis only",
            False: said(answer),
            None: "the session has left no key in the node's own Redis"
            if has_none
            else said(answer),
        }[kept],
    )


def deleted_everywhere(nodes: Nodes, dataset: str, node: str) -> Iterator[Proof]:
    """A dataset that one node deletes is gone on all."""
    answer = nodes.exercise(f"delete {dataset}", node)[node]
    done = "deleted" in answer
    yield Proof(
        promise="delete",
        node=node,
        kept=judged(answer, done),
        seen=f"dataset {dataset}" if done else said(answer),
    )
    if not done:
        return
    for each, found in nodes.exercise(f"gone {dataset}").items():
        gone = found.get("gone")
        yield Proof(
            promise=f"what {node} deletes is gone",
            node=each,
            kept=judged(found, gone is True),
            seen=said(found) if gone is None else ("gone" if gone else "still there"),
        )


def accounts_hold_everywhere(nodes: Nodes) -> Iterator[Proof]:
    """A sign-up and a setting made on one node hold on all."""
    user = f"proof-{secrets.token_hex(4)}"
    origin = [*nodes.addresses][-1]
    made = nodes.exercise(f"sign-up {user}", origin)[origin]
    yield Proof(promise="sign-up", node=origin, kept="error" not in made, seen=user)
    for node, answer in nodes.exercise(f"sign-in {user}").items():
        yield Proof(
            promise=f"sign in with the account of {origin}",
            node=node,
            kept=judged(answer, answer.get("signedIn") is True),
            seen="signed in" if answer.get("signedIn") else said(answer),
        )
    value = f"setting-{secrets.token_hex(4)}"
    nodes.exercise(f"set-setting {user} {value}", "leader")
    for node, answer in nodes.exercise(f"get-setting {user}").items():
        yield Proof(
            promise="setting made on leader",
            node=node,
            kept=answer.get("value") == value,
            seen=said(answer) if "value" not in answer else str(answer["value"]),
        )


def services_talk_to_the_right_data(nodes: Nodes) -> Iterator[Proof]:
    """Nexus and forge-etl-python of every node use the leader's data services, StreamGL the node's own Redis, and no
    service a third one."""
    for node, answer in nodes.exercise("connections").items():
        wrong = answer.get("wrong", [])
        yield Proof(
            promise="no service talks to another Redis or PostgreSQL",
            node=node,
            kept=judged(answer, not wrong and "wrong" in answer),
            seen="; ".join(wrong) or ("none does" if "wrong" in answer else said(answer)),
        )
        for each in answer.get("promises", []):
            silent, who = each["missing"], " and ".join(each["services"])
            unseen = f"no connection of {', '.join(silent)} was seen"
            yield Proof(
                promise=f"{who} use {each['to']}",
                node=node,
                kept=None if silent else True,
                seen=unseen if silent else "connected",
            )


def postgres_runs_on_the_leader_only(nodes: Nodes) -> Iterator[Proof]:
    """One PostgreSQL in the cluster."""
    for node, answer in nodes.exercise("services").items():
        runs = answer.get("postgresRuns")
        yield Proof(
            promise="PostgreSQL runs on the leader only",
            node=node,
            kept=runs is (node == "leader"),
            seen=said(answer) if runs is None else ("runs" if runs else "none"),
        )


def data_services_are_closed_to_strangers(nodes: Nodes) -> Iterator[Proof]:
    """This computer, which is outside the cluster, does not get through."""
    address = nodes.addresses["leader"]
    for name, port, greeting, answers in (
        ("PostgreSQL", POSTGRES_PORT, SSL_REQUEST, (b"S", b"N", b"E")),
        ("Redis", REDIS_PORT, b"PING\r\n", (b"+", b"-")),
    ):
        reached = first_byte(address, port, greeting) in answers
        yield Proof(
            promise=f"{name} closed to strangers",
            node="leader",
            kept=not reached,
            seen=f"{address}:{port} {'answers' if reached else 'does not answer'} this computer",
        )


def first_byte(address: str, port: int, greeting: bytes) -> bytes:
    """What a server answers to *greeting*, its first byte; none where nobody does.

    An open connection proves nothing: proxies of some networks accept every one.
    """
    try:
        with socket.create_connection((address, port), timeout=CONNECT_SECONDS) as connection:
            connection.sendall(greeting)
            return connection.recv(1)
    except OSError:
        return b""


def workers_follow_the_profile(nodes: Nodes) -> Iterator[Proof]:
    """Every node runs with the GPUs and workers of its own profile."""
    for node, answer in nodes.exercise("workers").items():
        wanted = specified_workers(nodes.specification(node))
        yield Proof(
            promise="GPUs and workers of its profile",
            node=node,
            kept=answer == wanted,
            seen=said(answer) if "error" in answer else workers(answer),
        )


def traffic_is_encrypted(nodes: Nodes) -> Iterator[Proof]:
    """On hosts with a tunnel, what a follower says to the leader's Redis goes through it, and nothing else is open."""
    if nodes.inside is None or not nodes.followers:
        return
    for node, answer in nodes.exercise("tunnel", *nodes.followers).items():
        least = min(answer.get("sent", 0), answer.get("received", 0))
        carried = "error" not in answer and least >= answer["bytes"]
        yield Proof(
            promise="traffic to the leader goes through WireGuard",
            node=node,
            kept=carried,
            seen=f"{least} bytes each way for {answer['bytes']}" if carried else said(answer),
        )
        is_shut = answer.get("openOutside") == []
        yield Proof(
            promise="the leader's data services are closed outside of WireGuard",
            node=node,
            kept=is_shut,
            seen="closed" if is_shut else said(answer),
        )


def specified_workers(specification: Mapping[str, Any]) -> dict[str, str]:
    """What a specification says of a node's GPUs, by the names of the product's variables."""
    gpu = specification["gpu"]
    return {
        "CUDA_VISIBLE_DEVICES": gpu["cudaVisibleDevices"],
        "FORGE_NUM_WORKERS": str(gpu["forgeWorkers"]),
        "STREAMGL_NUM_WORKERS": str(gpu["streamglWorkers"]),
        "DASK_NUM_WORKERS": str(gpu["daskWorkers"]),
    }


def workers(answer: Mapping[str, Any]) -> str:
    """The variables in one line."""
    return ", ".join(
        f"{name.removesuffix('_NUM_WORKERS')} {value}" for name, value in answer.items()
    )


def judged(answer: Mapping[str, Any], kept: bool) -> bool | None:
    """Whether a promise was *kept*, unless the node could not tell."""
    return None if "notProven" in answer else kept


def said(answer: Mapping[str, Any]) -> str:
    """What an exercise answered instead of what was hoped for."""
    return str(answer.get("notProven") or answer.get("error", dict(answer)))
