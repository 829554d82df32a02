"""The stand-in for Pulumi's `command` provider over SSH, against a real server on the loopback."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import paramiko
import pytest
from pulumi.runtime.proto import provider_pb2

from operate.engine import ensure
from sandbox.provider import command
from sandbox.provider.values import UNKNOWN, from_wire, to_wire
from tests.sandbox.command_engine import Shown
from tests.sandbox.ssh_server import Server, serving, text_of

OPERATOR = paramiko.RSAKey.generate(2048)
HOST_KEY = paramiko.ECDSAKey.generate()
ASSET = "c44067f5952c0a294b673a41bacd8c17"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path, OPERATOR, HOST_KEY) as running:
        yield running


def urn(token: str) -> str:
    return f"urn:pulumi:test::graphistry-cluster::{token}::it"


def connection(server: Server, **changes: Any) -> dict[str, Any]:
    return {
        "host": "127.0.0.1",
        "port": server.port,
        "user": "ubuntu",
        "privateKey": text_of(OPERATOR),
        "hostKey": server.host_key,
        "dialErrorLimit": 0,
        "perDialTimeout": 5,
        **changes,
    }


def checked(commands: Any, token: str, inputs: dict[str, Any]) -> dict[str, str]:
    request = provider_pb2.CheckRequest(urn=urn(token), news=to_wire(inputs, []))
    return {each.property: each.reason for each in commands.Check(request).failures}


def create(
    commands: Any, server: Server, token: str = command.REMOTE_COMMAND, **inputs: Any
) -> dict[str, Any]:
    asked = {"connection": connection(server), **inputs}
    if token == command.REMOTE_COMMAND:
        asked.setdefault("addPreviousOutputInEnv", False)
    assert checked(commands, token, asked) == {}
    request = provider_pb2.CreateRequest(urn=urn(token), properties=to_wire(asked, []))
    return from_wire(commands.Create(request, timeout=30).properties)[0]


def words(commands: Any, server: Server, **inputs: Any) -> str:
    """Why a command is refused."""
    with pytest.raises(grpc.RpcError) as refused:
        create(commands, server, **inputs)
    return str(refused.value.details())


def until(condition: Callable[[], Any], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return bool(condition())


def test_a_command_runs_there_and_every_line_is_shown(
    commands: Any, shown: Shown, server: Server
) -> None:
    made = create(commands, server, create="pwd; cat; echo two >&2", stdin="secret")
    assert made["stdout"] == f"{server.folder}\nsecret"
    assert made["stderr"] == "two"
    assert sorted(shown.lines) == sorted([str(server.folder), "secret", "two"])


@pytest.mark.parametrize(
    ("logging", "lines"),
    [("none", []), ("stderr", ["two"]), ("stdoutAndStderr", ["one", "two"])],
)
def test_what_shall_not_be_shown_is_not(
    commands: Any, shown: Shown, server: Server, logging: str, lines: list[str]
) -> None:
    made = create(commands, server, create="echo one; echo two >&2", logging=logging)
    assert (made["stdout"], made["stderr"]) == ("one", "two")
    assert sorted(shown.lines) == lines


def test_a_failing_command_fails_with_all_that_it_said(commands: Any, server: Server) -> None:
    said = words(commands, server, create='echo "why"; echo because >&2; exit 3')
    assert said.startswith('Process exited with status 3: running "echo \\"why\\"; ')
    assert {"why", "because"} <= set(said.splitlines())


def test_another_host_key_is_refused_before_anything_is_told(
    commands: Any, server: Server, tmp_path: Path
) -> None:
    other = paramiko.ECDSAKey.generate()
    pinned = connection(server, hostKey=f"{other.get_name()} {other.get_base64()}")
    said = words(commands, server, create="touch ran", connection=pinned)
    assert said == "after 0 failed attempts: ssh: handshake failed: ssh: host key mismatch"
    assert not (tmp_path / "ran").exists()


def pinned(key: paramiko.PKey) -> str:
    return f"{key.get_name()} {key.get_base64()}"


def test_of_several_host_keys_the_pinned_one_is_asked_for(commands: Any, tmp_path: Path) -> None:
    other = paramiko.ECDSAKey.generate(bits=384)
    with serving(tmp_path, OPERATOR, HOST_KEY, other) as server:
        for key in (HOST_KEY, other):
            known = connection(server, hostKey=pinned(key))
            assert create(commands, server, create="echo ok", connection=known)["stdout"] == "ok"


def test_a_pinned_rsa_key_is_asked_for_with_sha_1_which_no_host_offers(
    commands: Any, tmp_path: Path
) -> None:
    key = paramiko.RSAKey.generate(2048)
    with serving(tmp_path, OPERATOR, key) as server:
        said = words(commands, server, create="true", connection=connection(server))
    assert "no common algorithm for host key" in said


def test_an_agent_that_does_not_answer_is_fatal_even_next_to_a_key(
    commands: Any, server: Server, tmp_path: Path
) -> None:
    dead = connection(server, agentSocketPath=str(tmp_path / "gone"))
    said = words(commands, server, create="true", connection=dead)
    assert said == f"dial unix {tmp_path}/gone: connect: no such file or directory"
    assert server.connections == 0


def test_without_a_host_key_any_server_will_do(commands: Any, server: Server) -> None:
    unpinned = connection(server)
    del unpinned["hostKey"]
    assert create(commands, server, create="echo ok", connection=unpinned)["stdout"] == "ok"


def test_a_wrong_key_is_refused(commands: Any, server: Server) -> None:
    wrong = connection(server, privateKey=text_of(paramiko.RSAKey.generate(2048)))
    said = words(commands, server, create="true", connection=wrong)
    assert "unable to authenticate, attempted methods [none publickey]" in said
    unreadable = connection(server, privateKey="no key")
    assert words(commands, server, create="true", connection=unreadable) == "ssh: no key found"


def test_an_agent_signs_instead_of_a_key(commands: Any, server: Server, tmp_path: Path) -> None:
    path, key = tmp_path / "agent", tmp_path / "key"
    key.write_text(text_of(OPERATOR))
    key.chmod(0o600)
    by_agent = connection(server, agentSocketPath=str(path))
    del by_agent["privateKey"]
    with subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL) as agent:
        try:
            assert until(path.exists)
            added = {**os.environ, "SSH_AUTH_SOCK": str(path)}
            subprocess.run(["ssh-add", "-q", key], env=added, check=True)
            made = create(commands, server, create="echo ok", connection=by_agent)
            assert made["stdout"] == "ok"
        finally:
            agent.terminate()
    assert "dial unix" in words(commands, server, create="true", connection=by_agent)


def test_a_closed_port_is_dialled_as_often_as_it_says(
    commands: Any, shown: Shown, server: Server
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    closed = connection(server, port=port, dialErrorLimit=2)
    said = words(commands, server, create="true", connection=closed)
    assert said == (
        f"after 2 failed attempts: dial tcp 127.0.0.1:{port}: connect: connection refused"
    )
    assert shown.lines == ["Dial 1/2 failed: retrying", "Dial 2/2 failed: retrying"]


def test_a_machine_that_boots_is_waited_for(commands: Any, server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    late = connection(server, port=port, dialErrorLimit=-1)
    with ThreadPoolExecutor(1) as aside:
        running = aside.submit(create, commands, server, create="echo up", connection=late)
        time.sleep(0.5)
        server.listen(port)
        assert running.result(timeout=20)["stdout"] == "up"


def test_a_bastion_leads_to_a_machine(commands: Any, server: Server, tmp_path: Path) -> None:
    with serving(tmp_path, OPERATOR, HOST_KEY) as bastion:
        led = connection(server, proxy=connection(bastion))
        made = create(commands, server, create="echo behind", connection=led)
        assert made["stdout"] == "behind"
        assert bastion.connections == 1
        other = paramiko.ECDSAKey.generate()
        wrong = connection(bastion, hostKey=f"{other.get_name()} {other.get_base64()}")
        led = connection(server, proxy=wrong)
        said = words(commands, server, create="true", connection=led)
        assert said.startswith("proxy: after 0 failed attempts: ssh: handshake failed")


def test_a_connection_that_is_cut_in_the_middle_is_an_error(
    commands: Any, shown: Shown, server: Server
) -> None:
    with ThreadPoolExecutor(1) as aside:
        running = aside.submit(words, commands, server, create="echo began; sleep 60")
        assert until(lambda: shown.lines)
        server.cut()
        said = running.result(timeout=20)
    assert said.startswith("wait: remote command exited without exit status or exit signal")
    assert "began" in said


def test_an_engine_that_goes_takes_the_remote_process_along(
    commands: Any, server: Server, tmp_path: Path
) -> None:
    script = "trap 'touch ended; exit' TERM; touch began; sleep 60 & wait"
    inputs = {"connection": connection(server), "create": script}
    request = provider_pb2.CreateRequest(
        urn=urn(command.REMOTE_COMMAND), properties=to_wire(inputs, [])
    )
    call = commands.Create.future(request)
    assert until((tmp_path / "began").exists)
    call.cancel()
    assert until((tmp_path / "ended").exists)


def test_an_update_and_an_end_run_their_own_commands(
    commands: Any, server: Server, tmp_path: Path
) -> None:
    made = create(commands, server, create="echo made", update="echo changed", delete="touch gone")
    token = urn(command.REMOTE_COMMAND)
    news = {name: made[name] for name in made if name not in ("stdout", "stderr")}
    request = provider_pb2.UpdateRequest(urn=token, olds=to_wire(made, []), news=to_wire(news, []))
    assert from_wire(commands.Update(request).properties)[0]["stdout"] == "changed"
    commands.Delete(provider_pb2.DeleteRequest(urn=token, properties=to_wire(made, [])))
    assert (tmp_path / "gone").exists()


def test_no_command_opens_no_connection(commands: Any, server: Server) -> None:
    create(commands, server, delete="true")
    inputs = {"connection": connection(server), "create": "true"}
    request = provider_pb2.CreateRequest(
        urn=urn(command.REMOTE_COMMAND), preview=True, properties=to_wire(inputs, [])
    )
    assert from_wire(commands.Create(request).properties)[0]["stdout"] == UNKNOWN
    token = urn(command.REMOTE_COMMAND)
    commands.Delete(provider_pb2.DeleteRequest(urn=token, properties=to_wire(inputs, [])))
    assert server.connections == 0


def asset(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {
        "4dabf18193072939515e22adb298388d": ASSET,
        "path": str(path),
        "hash": hashlib.sha256(content).hexdigest(),
    }


def test_a_file_is_copied_whole_and_again_when_it_changed(
    commands: Any, server: Server, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(3_000_000))
    made = create(commands, server, command.COPY, source=asset(source), remotePath="agent.pyz")
    assert (tmp_path / "agent.pyz").read_bytes() == source.read_bytes()
    assert server.connections == 1
    other_connection = {**made, "connection": connection(server, dialErrorLimit=3)}
    assert update(commands, made, other_connection) == ["connection"]
    assert server.connections == 1  # as with the real one, that alone copies nothing
    source.write_text("changed")
    assert update(commands, made, {**made, "source": asset(source)}) == ["source"]
    assert (tmp_path / "agent.pyz").read_text() == "changed"
    moved = tmp_path / "moved"
    moved.write_text("changed")
    now = {**made, "source": asset(source)}
    assert update(commands, now, {**now, "source": asset(moved)}) == []


def update(commands: Any, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Bring a copy up to date; what differed."""
    token, olds, news = urn(command.COPY), to_wire(old, []), to_wire(new, [])
    diff = commands.Diff(provider_pb2.DiffRequest(urn=token, old_inputs=olds, news=news))
    if diff.diffs:
        commands.Update(provider_pb2.UpdateRequest(urn=token, olds=olds, news=news))
    return list(diff.diffs)


def test_a_copy_that_is_cut_leaves_half_of_a_file(
    commands: Any, server: Server, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(3_000_000))
    server.cut_after = 1_000_000
    with pytest.raises(grpc.RpcError, match=r"failed to copy file .* to remote path target"):
        create(commands, server, command.COPY, source=asset(source), remotePath="target")
    assert 0 < (tmp_path / "target").stat().st_size < 3_000_000


def test_a_copy_to_a_folder_that_is_not_there_fails(
    commands: Any, server: Server, tmp_path: Path
) -> None:
    text = {"4dabf18193072939515e22adb298388d": ASSET, "text": "hello", "hash": "x"}
    create(commands, server, command.COPY, source=text, remotePath="file")
    assert (tmp_path / "file").read_text() == "hello"
    with pytest.raises(grpc.RpcError, match="failed to create remote file no/file: file does not"):
        create(commands, server, command.COPY, source=text, remotePath="no/file")


@pytest.mark.parametrize(
    ("token", "inputs", "problem"),
    [
        (command.REMOTE_COMMAND, {"environment": {"A": "1"}}, "environment"),
        (command.REMOTE_COMMAND, {"addPreviousOutputInEnv": True}, "addPreviousOutputInEnv"),
        (command.REMOTE_COMMAND, {"logging": "all"}, "logging"),
        (command.REMOTE_COMMAND, {"stdin": 1}, "stdin"),
        (command.REMOTE_COMMAND, {"connection": {"port": 22}}, "connection.host"),
        (command.REMOTE_COMMAND, {"connection": {"host": "a", "kee": "b"}}, "connection.kee"),
        (
            command.REMOTE_COMMAND,
            {"connection": {"host": "a", "password": "b"}},
            "connection.password",
        ),
        (
            command.REMOTE_COMMAND,
            {"connection": {"host": "a", "proxy": {"host": "b", "password": "c"}}},
            "connection.proxy.password",
        ),
        (command.COPY, {"source": "text"}, "source"),
        (command.COPY, {"source": UNKNOWN}, "asset"),
        (command.COPY, {"mode": "0600"}, "mode"),
    ],
)
def test_what_is_not_carried_out_is_refused(
    commands: Any, token: str, inputs: dict[str, Any], problem: str
) -> None:
    text = {"4dabf18193072939515e22adb298388d": ASSET, "text": "", "hash": "x"}
    right: dict[str, Any] = {"connection": {"host": "a"}}
    if token == command.COPY:
        right |= {"source": text, "remotePath": "b"}
    else:
        right |= {"create": "true", "addPreviousOutputInEnv": False}
    assert checked(commands, token, right) == {}
    assert list(checked(commands, token, {**right, **inputs})) == [problem]


PROGRAM = """
import json, os, pulumi
from pulumi_command import remote

given = json.loads(os.environ["GIVEN"])
connection = remote.ConnectionArgs(
    host="127.0.0.1", port=given["port"], user="ubuntu", private_key=given["key"],
    host_key=given["host_key"], dial_error_limit=0,
)
copied = remote.CopyToRemote(
    "copy", connection=connection, remote_path="copied", source=pulumi.FileAsset(given["source"])
)
done = remote.Command(
    "done", connection=connection, create="cat copied -", stdin=pulumi.Output.secret(" and secret"),
    logging=remote.Logging.NONE, add_previous_output_in_env=False, delete="rm copied",
    triggers=[given["trigger"]],
    opts=pulumi.ResourceOptions(depends_on=[copied], additional_secret_outputs=["stdout"]),
)
pulumi.export("said", done.stdout)
"""


@pytest.mark.engine
def test_the_real_engine_makes_changes_and_ends_them(server: Server, tmp_path: Path) -> None:
    running, port = command.serve({})
    project, source = tmp_path / "project", tmp_path / "source"
    (project / "state").mkdir(parents=True)
    source.write_text("copied")
    (project / "Pulumi.yaml").write_text("name: remote\nruntime: python\n")
    (project / "__main__.py").write_text(PROGRAM)
    given = {
        "port": server.port,
        "key": text_of(OPERATOR),
        "host_key": server.host_key,
        "source": str(source),
        "trigger": 1,
    }
    environment = {
        **os.environ,
        "PATH": f"{ensure(print)}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PULUMI_HOME": str(project / "home"),
        "PULUMI_BACKEND_URL": f"file://{project}/state",
        "PULUMI_CONFIG_PASSPHRASE": "",
        "PULUMI_SKIP_UPDATE_CHECK": "1",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "1",
        "PULUMI_DEBUG_PROVIDERS": f"command:{port}",
    }

    def pulumi(*arguments: str) -> str:
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=project,
            env={**environment, "GIVEN": json.dumps(given)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    pulumi("stack", "init", "test")
    printed = pulumi("up", "--yes", "--skip-preview")
    outputs = json.loads(pulumi("stack", "output", "--json", "--show-secrets"))
    assert outputs == {"said": "copied and secret"}
    state = pulumi("stack", "export")
    assert "PRIVATE KEY" not in state
    assert "and secret" not in state + printed
    assert server.connections == 2
    assert "unchanged" in pulumi("up", "--yes", "--skip-preview")
    assert server.connections == 2  # a deployment that changes nothing connects to nothing
    given["trigger"] = 2
    assert "1 replaced" in pulumi("up", "--yes", "--skip-preview")
    assert not (tmp_path / "copied").exists()  # the old one's end came after the new one's start
    source.write_text("changed")
    assert "1 updated" in pulumi("up", "--yes", "--skip-preview")
    pulumi("destroy", "--yes", "--skip-preview")
    assert not (tmp_path / "copied").exists()
    running.stop(None)
