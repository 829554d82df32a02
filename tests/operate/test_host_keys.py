"""Host keys as an operator collects them: what is shown, what is written, and what to do next."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from typer.testing import CliRunner, Result

import operate.__main__ as commands
from operate.commands.host_keys import collect, write
from operate.hosts.ssh import SshError, fingerprint
from operate.stack import deployment
from tests.operate.test_ssh import KEY, closed_port
from tests.sandbox.ssh_server import Server, serving

ECDSA, FORMER = paramiko.ECDSAKey.generate(), paramiko.ECDSAKey.generate()
ED25519 = paramiko.Ed25519Key.from_private_key(
    io.StringIO(
        Ed25519PrivateKey.generate()
        .private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        .decode()
    )
)
Collect = Callable[..., Result]


def public(key: paramiko.PKey) -> str:
    return f"{key.get_name()} {key.get_base64()}"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A host with a key of each type, as Ubuntu makes them."""
    with serving(tmp_path, KEY, paramiko.RSAKey.generate(2048), ED25519, ECDSA) as running:
        yield running


STACK = """# my hosts
config:
  graphistry-cluster:site: hosts   # on premises
  graphistry-cluster:leader:
    profile: a100
    host: {{address: 127.0.0.1, port: {port}}}   # the big one
  graphistry-cluster:followers:
    rack1:
      profile: a100
      host: {{address: 127.0.0.1, port: {port}, hostKey: "{known}"}}
    rack2:
      profile: a100
      host: {{address: 127.0.0.1, port: {away}, hostKey: ""}}
"""


@pytest.fixture
def file(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stack file, in which the leader has no key, rack1 another than it answers with, and rack2 is away."""
    monkeypatch.setattr("operate.commands.host_keys.ROOT", tmp_path)
    monkeypatch.setattr(deployment, "ROOT", tmp_path)
    (tmp_path / "stacks").mkdir()
    path = tmp_path / "stacks" / "Pulumi.mine.yaml"
    path.write_text(STACK.format(port=server.port, known=public(FORMER), away=closed_port()))
    return path


@pytest.fixture
def host_keys(file: Path) -> Collect:
    """`./cluster host-keys mine`, where there is no terminal."""
    assert file

    def act(*arguments: str) -> Result:
        return CliRunner().invoke(commands.app, ["host-keys", "mine", *arguments])

    return act


def test_they_are_collected_and_written_with_the_comments_kept(file: Path) -> None:
    found = {each.place: each for each in collect(file, None)}
    assert found["leader"].state == "new"
    assert "does not answer" in found["followers.rack2"].state
    write(file, [found["leader"], found["followers.rack1"]])
    text = file.read_text()
    assert text.count(public(ECDSA)) == 2
    assert "# my hosts" in text
    assert "# on premises" in text
    assert "# the big one" in text
    assert {each.state for each in collect(file, "rack1")} == {"as in the stack file"}


def test_of_several_the_one_counts_that_the_deployment_takes_in_any_case(file: Path) -> None:
    (leader,) = collect(file, "leader")
    assert leader.key == public(ECDSA)


def test_a_known_key_of_another_type_is_as_good(file: Path) -> None:
    file.write_text(file.read_text().replace(public(FORMER), public(ED25519)))
    (rack1,) = collect(file, "rack1")
    assert rack1.state == "as in the stack file"


def test_without_a_yes_it_says_how_to_compare_and_what_to_type(
    host_keys: Collect, file: Path
) -> None:
    before = file.read_text()
    done = host_keys()
    assert done.exit_code == 1
    assert "`ssh-keygen -lf /etc/ssh/ssh_host_ecdsa_key.pub`" in done.output
    assert "`./cluster host-keys mine --yes` takes what is new" in done.output
    assert file.read_text() == before


def test_a_changed_key_stands_beside_the_one_of_the_stack_file(host_keys: Collect) -> None:
    done = host_keys("rack1", "--yes")
    assert done.exit_code == 1
    (row,) = [line for line in done.output.splitlines() if line.startswith("followers.rack1")]
    assert row.index(fingerprint(public(FORMER))) < row.index(fingerprint(public(ECDSA)))
    assert "`./cluster host-keys mine rack1` at a terminal" in done.output


def test_one_key_is_one_key_and_the_preview_is_next(host_keys: Collect) -> None:
    done = host_keys("leader", "--yes")
    assert done.exit_code == 0
    assert "1 key written to stacks/Pulumi.mine.yaml; next: ./cluster preview mine" in done.output
    assert "every host answers with its key" in host_keys("leader").output


def test_where_no_host_answers_the_cure_is_told(host_keys: Collect) -> None:
    done = host_keys("rack2")
    assert done.exit_code == 1
    assert "check the address, that the host is up" in done.output
    assert "no host answered; `./cluster host-keys mine rack2` asks again" in done.output
    assert "ssh-keygen" not in done.output


def test_a_bastion_whose_key_is_not_known_is_told(file: Path, server: Server) -> None:
    bastion = f"{{bastion: {{address: 127.0.0.1, port: {server.port}}}}}"
    file.write_text(
        file.read_text().replace("config:", f"config:\n  graphistry-cluster:ssh: {bastion}")
    )
    found = {each.place: each for each in collect(file, None)}
    assert found["ssh.bastion"].state == "new"
    assert "names no key of ubuntu@127.0.0.1" in found["leader"].state
    assert "STACK ssh.bastion" in found["leader"].hint


def test_a_hint_about_a_host_names_the_stack_and_the_host(
    host_keys: Collect, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: object) -> str:
        raise SshError("no key of the type", "`./cluster host-keys STACK NODE` takes another")

    monkeypatch.setattr("operate.commands.host_keys.presented_key", refused)
    shown = host_keys("rack1").output
    assert "`./cluster host-keys mine rack1` takes another" in shown
