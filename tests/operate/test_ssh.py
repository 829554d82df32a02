"""Commands over real SSH: which host, which key, and what is said when it is another."""

from __future__ import annotations

import hashlib
import io
import json
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import paramiko
import pytest

from operate.hosts import (
    ssh,
)
from operate.hosts.connected import Hosts
from operate.hosts.ssh import (
    Access,
    HostKeyError,
    SshError,
    connect,
    connected,
    fingerprint,
    presented_key,
)
from operate.steps import (
    host_delivery,
    host_ready,
    host_release,
    host_removal,
    host_secret,
    host_secret_env,
    host_tunnel,
    step_output,
)
from tests.sandbox.ssh_server import Server, serving, text_of

KEY = paramiko.RSAKey.generate(2048)
OTHER = paramiko.RSAKey.generate(2048)
HOST_KEY = paramiko.ECDSAKey.generate()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path, KEY, HOST_KEY) as running:
        yield running


def access(server: Server, key: paramiko.PKey = KEY, host_key: str = "") -> Access:
    return Access(
        address="127.0.0.1",
        port=server.port,
        user="ubuntu",
        host_key=host_key or server.host_key,
        private_key=text_of(key),
    )


def closed_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def variable(server: Server) -> str:
    return json.dumps(
        {
            "address": "127.0.0.1",
            "port": server.port,
            "user": "ubuntu",
            "hostKey": server.host_key,
            "privateKey": text_of(KEY),
            "bastion": None,
        }
    )


def test_a_command_gets_its_input_and_gives_its_output_and_status(server: Server) -> None:
    with connected(access(server)) as connection:
        answer = connection.run("cat; echo told >&2", stdin="given\n" * 20000)
        assert answer.succeeded
        assert answer.output == "given\n" * 20000
        assert answer.error == "told\n"
        assert not connection.run("exit 3").succeeded
    assert server.connections == 1


def test_another_host_key_is_refused_with_both_fingerprints(server: Server) -> None:
    known = f"{HOST_KEY.get_name()} {paramiko.ECDSAKey.generate().get_base64()}"
    with pytest.raises(HostKeyError) as raised, connected(access(server, host_key=known)):
        pass
    assert fingerprint(server.host_key) in str(raised.value)
    assert fingerprint(known) in str(raised.value)
    assert "./cluster host-keys" in raised.value.hint


def test_a_host_without_a_key_of_the_known_type_is_refused(server: Server) -> None:
    other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEp8kU1vC3mTqXIKp1vXYf0fYd2qMy3cEV7e0c0b3b3b"
    with pytest.raises(HostKeyError) as raised, connected(access(server, host_key=other)):
        pass
    assert "`sudo ssh-keygen -A` on the host" in raised.value.hint


def test_a_host_with_an_rsa_key_only_is_told_how_to_get_another(tmp_path: Path) -> None:
    with serving(tmp_path, KEY, OTHER) as old, pytest.raises(HostKeyError) as raised:
        presented_key(access(old))
    assert "`sudo ssh-keygen -A` on the host" in raised.value.hint


def test_a_key_that_the_host_does_not_know_is_told(server: Server) -> None:
    with pytest.raises(SshError) as raised, connected(access(server, OTHER)):
        pass
    assert "does not let ubuntu in with the key of the stack file" in str(raised.value)
    assert "authorized_keys" in raised.value.hint
    assert "ssh-add" not in raised.value.hint


def test_without_an_ssh_agent_a_person_is_told_to_start_one(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    nobodys = replace(access(server, OTHER), private_key=None)
    with pytest.raises(SshError, match="any of 0 keys") as raised, connected(nobodys):
        pass
    assert 'eval "$(ssh-agent)"' in raised.value.hint


def silent_after(said: bytes, listening: socket.socket) -> socket.socket:
    """The connection to a host that says no more than this."""
    connection = listening.accept()[0]
    connection.sendall(said)
    return connection


@pytest.mark.parametrize("ask", [connect, presented_key])
@pytest.mark.parametrize("said", [b"", b"SSH-2.0-half\r\n"], ids=["nothing", "a banner"])
def test_a_host_that_falls_silent_is_told(
    said: bytes,
    ask: Callable[[Access], object],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """As one that is suspended, or whose disk is gone: its kernel goes on taking connections."""
    monkeypatch.setattr(ssh, "CONNECT_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as aside:
        host = aside.submit(silent_after, said, listening)
        silent = Access(
            address="127.0.0.1",
            port=listening.getsockname()[1],
            user="ubuntu",
            host_key=f"{HOST_KEY.get_name()} {HOST_KEY.get_base64()}",
            private_key=text_of(KEY),
        )
        with pytest.raises(SshError, match="does not speak SSH"):
            ask(silent)
        host.result().close()
    assert capfd.readouterr().err == ""


def test_what_is_no_key_is_told_and_not_shown(server: Server) -> None:
    broken = Access(
        address="127.0.0.1",
        port=server.port,
        user="ubuntu",
        host_key=server.host_key,
        private_key="-----BEGIN PRIVATE KEY-----\nhunter2",
    )
    with pytest.raises(SshError) as raised, connected(broken):
        pass
    assert "hunter2" not in f"{raised.value} {raised.value.hint}"


def test_a_host_that_does_not_answer_is_told(server: Server) -> None:
    server.port = closed_port()
    with pytest.raises(SshError, match="does not answer"), connected(access(server)):
        pass


def test_what_does_not_speak_ssh_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "CONNECT_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        there = Access(
            address="127.0.0.1",
            port=mute.getsockname()[1],
            user="ubuntu",
            host_key=f"{HOST_KEY.get_name()} {HOST_KEY.get_base64()}",
            private_key=text_of(KEY),
        )
        mute.listen()

        def hang_up() -> None:
            mute.accept()[0].close()

        threading.Thread(target=hang_up, daemon=True).start()
        with pytest.raises(SshError, match="does not speak SSH"), connected(there):
            pass


def test_a_host_that_hangs_up_while_many_sign_in_is_tried_again(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "HUNG_UP_PAUSES", (0.01, 0.01))
    server.hangs_up = 2
    with connected(access(server)) as connection:
        assert connection.run("echo yes").output == "yes\n"
    server.hangs_up = 3
    with pytest.raises(SshError, match="does not speak SSH"), connected(access(server)):
        pass


@pytest.fixture
def noisy(server: Server, tmp_path: Path) -> Server:
    """A host whose user has a ~/.bashrc that prints, as bash reads it for a command that sshd hands it."""
    (tmp_path / "rc").write_text("echo Welcome to rack 2; printf '> '; echo '{}' >&2\n")
    server.shell = ["bash", "-c"]
    server.environment["BASH_ENV"] = str(tmp_path / "rc")
    return server


def test_what_a_login_shell_prints_is_no_answer(noisy: Server) -> None:
    shown: list[str] = []
    with connected(access(noisy)) as connection:
        asked = "echo '{}'; sleep 0.1; printf end; echo no >&2; exit 2"
        answer = connection.run(asked, show=shown.append)
        with connection.started("echo begun; cat", stdin=b"more"):
            pass
    assert (answer.output, answer.error, answer.succeeded) == ("{}\nend", "no\n", False)
    assert shown == ["{}", "end"]
    assert answer.noise == "Welcome to rack 2\n>"


def test_a_login_shell_that_runs_no_commands_is_shown_with_what_it_says(server: Server) -> None:
    server.shell = ["sh", "-c", "echo This account is currently not available.; exit 1"]
    with connected(access(server)) as connection, pytest.raises(SshError) as raised:
        connection.run("true")
    assert str(raised.value) == (
        "the login shell of ubuntu runs no commands: This account is currently not available."
    )
    assert "chsh -s /bin/bash ubuntu" in raised.value.hint


def test_a_connection_that_is_cut_is_told(server: Server) -> None:
    with connected(access(server)) as connection:
        server.cut()
        with pytest.raises(SshError, match="the connection was lost"):
            connection.run("true")


def test_a_bastion_leads_to_the_host(server: Server, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    with serving(tmp_path / "inner", KEY, paramiko.ECDSAKey.generate()) as inner:
        there = Access(
            address="127.0.0.1",
            port=inner.port,
            user="ubuntu",
            host_key=inner.host_key,
            private_key=text_of(KEY),
            bastion=access(server),
        )
        with connected(there) as connection:
            assert connection.run("readlink /proc/$PPID/cwd").output.strip().endswith("/inner")
        assert presented_key(there) == inner.host_key


def test_the_hosts_of_a_stack_share_one_connection_each(server: Server) -> None:
    hosts = Hosts.__new__(Hosts)
    hosts.access, hosts._connections, hosts.failures = {"leader": access(server)}, {}, {}
    for _ in range(3):
        assert hosts.run(["leader"], "echo yes")["leader"].output == "yes\n"
    assert server.connections == 1
    hosts.close()


def is_both_hosts(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is the leader and the follower between which something is carried."""
    monkeypatch.setenv("LEADER", variable(server))
    monkeypatch.setenv("HOST", variable(server))


def test_the_secret_is_carried_and_never_printed(
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(host_secret, "AGENT", f"{tmp_path}/agent")
    agent = tmp_path / "agent"
    agent.write_text('#!/bin/sh\n[ "$1" = secret ] && echo canary || cat > "${0%/*}/taken"\n')
    agent.chmod(0o755)
    is_both_hosts(server, monkeypatch)
    assert host_secret.main() == 0
    assert (tmp_path / "taken").read_text() == "canary\n"
    assert "canary" not in "".join(capfd.readouterr())


def test_a_leader_without_a_secret_is_told(
    server: Server, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(host_secret, "AGENT", "echo no secret yet >&2; false")
    is_both_hosts(server, monkeypatch)
    assert host_secret.main() == 1
    assert "no secret yet" in capfd.readouterr().err


def test_secret_variables_are_brought_by_standard_input_and_an_id_is_printed(
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    archive = tmp_path / "agent.pyz"
    archive.write_bytes(b"agent")
    commands = []

    def command(words: str, sent: bytes) -> str:
        commands.append((words, sent))
        return f"cat > {tmp_path}/taken"

    monkeypatch.setattr(host_secret_env, "build_archive", lambda: archive)
    monkeypatch.setattr(host_secret_env, "run_once", command)
    monkeypatch.setenv("HOST", variable(server))
    printed = set()
    for _ in range(2):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b'{"A": "canary"}')))
        assert host_secret_env.main() == 0
        shown = capfd.readouterr()
        assert "canary" not in shown.out + shown.err
        printed.add(str(uuid.UUID(shown.out.strip())))
    assert len(printed) == 2
    assert (tmp_path / "taken").read_bytes() == b'agent{"A": "canary"}'
    assert commands == [("accept-secret-env", b"agent")] * 2


def test_a_host_that_does_not_take_secret_variables_is_told(
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    archive = tmp_path / "agent.pyz"
    archive.write_bytes(b"agent")
    monkeypatch.setattr(host_secret_env, "build_archive", lambda: archive)
    monkeypatch.setattr(
        host_secret_env, "run_once", lambda *_: "cat >/dev/null; echo no >&2; false"
    )
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"canary")))
    monkeypatch.setenv("HOST", variable(server))
    assert host_secret_env.main() == 1
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "the host" in shown.err
    assert "canary" not in shown.err


def test_public_keys_are_carried_both_ways(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(host_tunnel, "AGENT", f"{tmp_path}/agent")
    agent = tmp_path / "agent"
    agent.write_text('#!/bin/sh\n[ "$1" = tunnel-key ] && echo k3y || echo "$@" >> "${0%/*}/met"\n')
    agent.chmod(0o755)
    is_both_hosts(server, monkeypatch)
    assert host_tunnel.main(["10.0.0.10", "10.0.0.12"]) == 0
    # The leader knows its follower first: it may call at once.
    assert (tmp_path / "met").read_text().splitlines() == [
        "tunnel-peer 10.0.0.12 k3y",
        "tunnel-peer 10.0.0.10 k3y",
    ]


def test_an_agent_that_refuses_a_key_is_told(
    server: Server, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(host_tunnel, "AGENT", "echo TunnelUnavailable: no tools >&2; false")
    is_both_hosts(server, monkeypatch)
    assert host_tunnel.main(["10.0.0.10", "10.0.0.12"]) == 1
    told = capfd.readouterr().err
    assert "the follower" in told
    assert "TunnelUnavailable: no tools" in told


def test_a_host_that_is_gone_is_removed_without_it(
    server: Server, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    server.port = closed_port()
    monkeypatch.setenv("HOST", variable(server))
    assert host_removal.main() == 0
    assert "was not reached, and what was installed there stays" in capfd.readouterr().out


def test_a_removal_that_fails_on_a_host_that_is_there_fails(
    server: Server, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOST", variable(server))
    monkeypatch.setattr(host_removal, "REMOVE", "echo kept; echo in the way >&2; false")
    assert host_removal.main() == 1
    assert "in the way" in capfd.readouterr().err


@pytest.fixture
def host(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Server:
    """A host of which everybody is root, for the programs that the deployment runs."""
    (tmp_path / "sudo").write_text('#!/bin/sh\nshift\nexec "$@"\n')
    (tmp_path / "sudo").chmod(0o755)
    server.environment["PATH"] = f"{tmp_path}:{server.environment['PATH']}"
    monkeypatch.setenv("HOST", variable(server))
    return server


def test_a_delivery_brings_agent_and_specification(
    host: Server,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    archive = tmp_path / "agent.pyz"
    archive.write_text("import sys; print(sys.argv[1:], sys.stdin.read()); sys.exit('refused')\n")
    monkeypatch.setattr(host_delivery, "build_archive", lambda: archive)
    given = SimpleNamespace(buffer=io.BytesIO(b"specification"))
    monkeypatch.setattr("sys.stdin", given)
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert host_delivery.main([sha256, "/opt/release"]) == 1
    printed = capfd.readouterr()
    assert printed.out == "['deliver', '--release', '/opt/release'] specification\n"
    assert printed.err == "refused\n"
    assert host_delivery.main(["0" * 64]) == 1
    assert "sources changed meanwhile" in capfd.readouterr().err


def test_the_agent_that_comes_with_secret_variables_keeps_them(
    host: Server,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    host.environment["GRAPHISTRY_CLUSTER_STORE"] = str(tmp_path / "store")
    for text, status in (('{"A": "canary"}', 0), ("canary-two", 1)):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
        assert host_secret_env.main() == status
        assert "canary" not in "".join(capfd.readouterr())
    kept = tmp_path / "store" / "secret-env.json"
    assert json.loads(kept.read_text()) == {"A": "canary"}
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("status", [0, 1])
def test_a_wait_shows_lines_and_ends_as_the_agents_does(
    host: Server, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], status: int
) -> None:
    script = f"sh -c 'echo $0 $1; echo why >&2; exit {status}'"
    monkeypatch.setattr(host_ready, "AGENT", script)
    assert host_ready.main(["abc"]) == status
    assert capfd.readouterr() == ("wait abc\n", "why\n")


def test_a_wait_that_loses_its_host_fails(
    host: Server, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(host_ready, "AGENT", "echo begun; sleep 30;")
    monkeypatch.setattr(step_output, "show", lambda _: host.cut())
    assert host_ready.main(["abc"]) == 1
    assert "127.0.0.1" in capfd.readouterr().err


def test_a_host_that_goes_while_it_is_removed_is_tried_again(
    host: Server, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(host_removal, "REMOVE", "sleep 30;")
    threading.Timer(1, host.cut).start()
    assert host_removal.main() == 1
    assert "the connection was lost" in capfd.readouterr().err


def test_a_release_is_sent_unless_the_host_has_it(
    host: Server,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    archive, home = tmp_path / "release.tar.gz", tmp_path / "opt"
    archive.write_bytes(b"release" * 300_000)
    monkeypatch.setattr(host_release, "SENT_RELEASE", f"{home}/release.sent")
    monkeypatch.setattr(host_release, "INCOMING", f"{home}/incoming")
    assert host_release.main([str(archive), "abc"]) == 0
    assert (home / "release.sent").read_bytes() == archive.read_bytes()
    (home / "incoming").mkdir()
    (home / "release.sent").rename(home / "incoming" / "abc")
    assert host_release.main([str(archive), "abc"]) == 0
    assert "is there already" in capfd.readouterr().out
    assert not (home / "release.sent").exists()
    assert host_release.main([str(tmp_path / "none"), "def"]) == 1
    assert "No such file" in capfd.readouterr().err


@pytest.fixture
def removal(
    server: Server, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """What a follower's removal prints, whose leader answers a command with the hash of its secret."""
    monkeypatch.setattr(host_removal, "REMOVE", "echo removed with")

    def remove(leaders_secret: str, **changes: Any) -> str:
        monkeypatch.setattr(host_removal, "LEADERS_SECRET", leaders_secret)
        monkeypatch.setenv("HOST", variable(server))
        monkeypatch.setenv("LEADER", json.dumps({**json.loads(variable(server)), **changes}))
        assert host_removal.main() == 0
        return capfd.readouterr().out

    return remove


def test_a_followers_removal_is_told_the_secret_that_the_leader_has(
    removal: Callable[..., str],
) -> None:
    assert removal("echo abc secret.json") == "removed with abc\n"


def test_no_secret_goes_that_the_leader_does_not_show(removal: Callable[..., str]) -> None:
    assert removal("false").splitlines()[1:] == ["removed with"]
    gone = removal("echo abc secret.json", port=closed_port())
    assert gone.startswith("the secret is kept here: the leader (")
    assert gone.splitlines()[1:] == ["removed with"]
