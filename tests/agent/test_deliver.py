"""Making a host a node, and taking it back, as the program does over SSH."""

import fcntl
import hashlib
import json
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.__main__ import main
from agent.data.redis_users import configuration
from agent.delivery import incoming
from agent.failures import Failure
from agent.node import Node
from agent.phases.release import release
from agent.phases.secrets import KEYS, followers_part, generate, read
from agent.sites import delivered, guests, host_secret
from agent.sites.deliver import deliver
from components.agent_archive import build_archive
from operate.steps import host_removal

from .fakes import FakeMachine
from .test_release import loaded, tarball

Deliver = Callable[..., str]


@pytest.fixture
def archive(fake: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The agent's archive as the program copies it to a host, being run."""
    built = build_archive(fake.root / "built")
    copied = built.rename(fake.root / ".graphistry-cluster-agent.pyz")
    monkeypatch.setattr(sys, "argv", [str(copied), "deliver"])
    return copied


@pytest.fixture
def content(fake: FakeMachine, archive: Path) -> Callable[..., bytes]:
    """A specification's bytes that name that archive."""

    def make(role: str = "leader", **changes: Any) -> bytes:
        sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
        document = fake.host_document(role, agent={"sha256": sha256}, **changes)
        return json.dumps(document).encode()

    return make


Content = Callable[..., bytes]


def everything(fake: FakeMachine) -> dict[Path, tuple[bytes, int, int]]:
    """All files that a delivery may write, with mode and inode: one that is replaced shows."""
    found = [fake.home, fake.store, fake.root / "units"]
    return {
        each: (each.read_bytes(), each.stat().st_mode, each.stat().st_ino)
        for folder in found
        for each in folder.rglob("*")
        if each.is_file()
    }


def test_a_host_becomes_a_leader(fake: FakeMachine, archive: Path, content: Content) -> None:
    said = deliver(content(), None)
    assert said.startswith("leader: agent and specification, its first")
    assert (fake.home / "agent.pyz").read_bytes() == archive.read_bytes()
    assert (fake.home / "wanted.json").read_bytes() == content()
    unit = (fake.root / "units" / "graphistry-cluster-agent.service").read_text()
    assert f"{fake.home}/agent.pyz run hosts\n" in unit
    assert fake.log("systemctl")[-1] == "restart --no-block graphistry-cluster-agent.service"
    secret = fake.store / "secret.json"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stat.S_IMODE(fake.store.stat().st_mode) == 0o700
    assert stat.S_IMODE(fake.home.stat().st_mode) == 0o700
    assert set(json.loads(secret.read_text())) == {*KEYS, "schemaVersion"}


def test_a_second_delivery_changes_nothing_and_restarts_nothing(
    fake: FakeMachine, content: Content
) -> None:
    deliver(content(), None)
    before, calls = everything(fake), len(fake.log("systemctl"))
    assert deliver(content(), None).startswith("leader: no change")
    assert everything(fake) == before
    assert not any("start " in f"{line} " for line in fake.log("systemctl")[calls:])


def test_another_agent_is_told(fake: FakeMachine, content: Content) -> None:
    deliver(content(), None)
    (fake.home / "agent.pyz").write_bytes(b"an older one")
    assert deliver(content(), None).startswith("leader: another agent")


def test_another_specification_needs_no_restart(fake: FakeMachine, content: Content) -> None:
    deliver(content(), None)
    calls = len(fake.log("systemctl"))
    gpu = {**fake.host_document()["gpu"], "forgeWorkers": 5}
    assert deliver(content(gpu=gpu), None).startswith("leader: another specification")
    assert not any("start " in f"{line} " for line in fake.log("systemctl")[calls:])


def test_an_agent_that_does_not_run_is_started(fake: FakeMachine, content: Content) -> None:
    deliver(content(), None)
    (fake.root / "agent-state").write_text("failed\n")
    deliver(content(), None)
    assert fake.log("systemctl")[-1] == "start --no-block graphistry-cluster-agent.service"


def test_a_follower_makes_no_secret(fake: FakeMachine, content: Content) -> None:
    deliver(content("follower"), None)
    assert not (fake.store / "secret.json").exists()


def test_another_agent_than_the_specification_names_is_refused(
    fake: FakeMachine, archive: Path, content: Content, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = content()
    archive.write_bytes(archive.read_bytes()[:1000])
    with pytest.raises(Failure) as raised:
        deliver(wanted, None)
    assert raised.value.code == "AgentChecksumMismatch"
    assert list(fake.home.iterdir()) == []


def test_a_failure_is_told_with_its_code_and_what_to_do(
    fake: FakeMachine,
    archive: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert fake
    assert archive

    class Standard:
        class buffer:  # noqa: N801, as the real one is called
            @staticmethod
            def read() -> bytes:
                return b"{"

    monkeypatch.setattr(sys, "stdin", Standard)
    assert main(["deliver"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("SpecificationInvalid: it cannot be read")
    assert said[-1].endswith("that this agent belongs to)")


def test_a_document_of_another_site_is_refused(fake: FakeMachine, archive: Path) -> None:
    assert archive
    with pytest.raises(Failure, match="not of a host"):
        deliver(json.dumps(fake.document()).encode(), None)


def test_a_host_of_another_cluster_is_not_taken(fake: FakeMachine, content: Content) -> None:
    deliver(content(), None)
    before = everything(fake)
    with pytest.raises(Failure, match="graphistry-cluster/test") as raised:
        deliver(content(cluster="another"), None)
    assert raised.value.code == "HostTaken"
    assert everything(fake) == before


def test_a_delivery_waits_for_another_one_and_says_so(
    fake: FakeMachine, content: Content, capsys: pytest.CaptureFixture[str]
) -> None:
    with (fake.root / "lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        waiting = threading.Thread(target=deliver, args=(content(), None))
        waiting.start()
        time.sleep(0.3)
        assert not (fake.home / "wanted.json").exists()
    waiting.join(10)
    assert (fake.home / "wanted.json").exists()
    assert "waiting: another delivery" in capsys.readouterr().out


def test_it_does_not_wait_for_ever(
    fake: FakeMachine, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.limits.DELIVER", 0.1)
    with (fake.root / "lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(Failure) as raised:
            deliver(content(), None)
    assert raised.value.code == "DeliveryBusy"


def test_a_delivery_that_was_cut_off_anywhere_is_done_again(
    fake: FakeMachine, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = (
        "sites.deliver.write",
        "sites.host_secret.create",
        "machine.unit.write",
        "sites.deliver.write_private",
    )
    for step in steps:
        with monkeypatch.context() as context:
            context.setattr(f"agent.{step}", cut_off)
            with pytest.raises(KeyboardInterrupt):
                deliver(content(), None)
        assert not (fake.home / "wanted.json").exists()
    (fake.root / "agent-state").write_text("inactive\n")
    deliver(content(), None)
    assert delivered.is_leader()
    # The agent, which the first tries had put there, was never started.
    assert fake.log("systemctl")[-1].startswith(("start", "restart"))


def test_another_kind_of_data_services_is_refused_while_there_are_data(
    fake: FakeMachine, content: Content
) -> None:
    contained = content(dataServices="containers", dataVolume=None)
    bundled = fake.store / "data" / "postgresql_data"
    bundled.mkdir(parents=True)
    deliver(content(), None)
    (bundled / "PG_VERSION").touch()
    before = everything(fake)
    with pytest.raises(Failure, match="are those of dataServices bundled") as raised:
        deliver(contained, None)
    assert raised.value.code == "DataServicesForeign"
    assert everything(fake) == before
    deliver(content(), None)
    bundled.rename(bundled.with_name("before"))
    deliver(contained, None)
    with pytest.raises(Failure, match="are those of dataServices containers"):
        deliver(content(), None)
    deliver(contained, None)


def cut_off(*_: object) -> None:
    raise KeyboardInterrupt


def test_the_secret_is_made_once(fake: FakeMachine, content: Content) -> None:
    deliver(content(), None)
    first = host_secret.read()
    host_secret.create(json.dumps(generate()))
    deliver(content(), None)
    assert host_secret.read() == first
    assert [each.name for each in fake.store.iterdir() if "secret" in each.name] == ["secret.json"]


def test_another_secret_of_a_leader_never_ends_the_last_copy_of_the_first(
    fake: FakeMachine, content: Content
) -> None:
    deliver(content(role="follower"), None)
    first, second = (json.dumps(generate()) for _ in range(2))
    for text in (first, first, second, second):
        host_secret.accept(text)
    kept = fake.store / "secret.json.before"
    assert host_secret.digest(kept.read_text()) == host_secret.digest(first)
    assert host_secret.digest(host_secret.read() or "") == host_secret.digest(second)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_containers_find_their_passwords_in_files_that_only_root_comes_to(
    fake: FakeMachine, content: Content
) -> None:
    deliver(content(dataServices="containers", dataVolume=None), None)
    secret = json.loads(host_secret.read() or "")
    folder = fake.store / "data-services"
    assert (folder / "postgres-password").read_text() == secret["postgresPassword"]
    assert (folder / "redis.conf").read_text() == configuration(secret)
    assert secret["redisPassword"] not in (folder / "redis.conf").read_text()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "redis.conf").stat().st_mode) == 0o644


def test_containers_find_the_address_inside_the_tunnel_on_which_they_publish(
    fake: FakeMachine, content: Content
) -> None:
    for name in ("wg-quick", "wg"):
        fake.command(name, 'case "$1" in genkey) echo key ;; esac')
    tunnel = {"network": "198.18.0.0/15", "port": 51820, "leader": "127.0.0.1"}
    site = {"kind": "hosts", "address": "127.0.0.1", "tunnel": tunnel}
    deliver(content(site=site, dataServices="containers", dataVolume=None), None)
    assert "restart graphistry-cluster-tunnel.service" in fake.log("systemctl")
    assert (fake.store / "tunnel" / "private.key").read_text() == "key\n"


def test_docker_is_ready_for_the_containers_before_the_program_makes_them(
    fake: FakeMachine, content: Content
) -> None:
    """The agent would else restart it for its settings while they are made."""
    deliver(content(dataServices="containers", dataVolume=None), None)
    assert json.loads((fake.root / "daemon.json").read_text())["default-runtime"] == "nvidia"
    restart = "restart docker.service"
    begun = fake.log("systemctl").index("restart --no-block graphistry-cluster-agent.service")
    assert fake.log("systemctl").index(restart) < begun
    deliver(content(dataServices="containers", dataVolume=None), None)
    assert fake.log("systemctl").count(restart) == 1


@pytest.mark.parametrize("role", ["leader", "follower"])
def test_docker_is_the_agents_where_the_program_makes_no_containers(
    fake: FakeMachine, content: Content, role: str
) -> None:
    changes = {"dataServices": "containers"} if role == "follower" else {}
    deliver(content(role, **changes), None)
    assert not (fake.root / "daemon.json").exists()


class TestSecret:
    """From the leader to its followers."""

    def test_it_is_what_the_follower_keeps(
        self, fake: FakeMachine, capsys: pytest.CaptureFixture[str]
    ) -> None:
        values = generate()
        host_secret.create(json.dumps(values))
        assert main(["secret"]) == 0
        text = capsys.readouterr().out
        assert json.loads(text) == {key: values[key] for key in values if key != "adminPassword"}
        (fake.store / "secret.json").unlink()
        host_secret.accept(text)
        assert host_secret.read() == text
        assert stat.S_IMODE((fake.store / "secret.json").stat().st_mode) == 0o600

    def test_a_followers_copy_of_everything_loses_what_only_the_leader_needs(
        self, fake: FakeMachine, make_host: Callable[..., Node]
    ) -> None:
        text = json.dumps(generate(), sort_keys=True)
        host_secret.create(text)
        node = make_host("follower")
        part = node.site.read_secret(node.specification)
        assert json.loads(part or "").items() < json.loads(text).items()
        assert "adminPassword" not in (fake.store / "secret.json").read_text()
        make_host()
        host_secret.accept(text)
        assert host_secret.read() == part
        host_secret.forget_copy(host_secret.digest(text))
        assert host_secret.read() is None

    def test_the_leaders_is_put_back_from_a_followers_copy(
        self, fake: FakeMachine, content: Content
    ) -> None:
        values = {key: str(value) for key, value in generate().items()}
        fake.store.mkdir(exist_ok=True)
        (fake.store / "secret.json").write_text(followers_part(values))
        deliver(content(), None)
        found = read(host_secret.read() or "")
        assert found.pop("adminPassword")
        assert found == {key: values[key] for key in found}

    def test_the_leader_shows_the_hash_that_its_follower_compares(
        self, fake: FakeMachine, tmp_path: Path
    ) -> None:
        text = json.dumps(generate())
        host_secret.create(text)
        script = host_removal.LEADERS_SECRET.replace("sudo -n ", "").replace(
            "/var/lib/graphistry-cluster", str(fake.store)
        )
        shown = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
        part = host_secret.share() or ""
        assert {host_secret.digest(text), host_secret.digest(part)} == {shown.stdout.strip()}

    def test_where_there_is_none_that_is_said(
        self, fake: FakeMachine, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert fake
        assert main(["secret"]) == 1
        assert "SecretNotFilled" in capsys.readouterr().err

    def test_half_a_secret_is_refused_without_its_values(self, fake: FakeMachine) -> None:
        with pytest.raises(Failure) as raised:
            host_secret.accept(json.dumps({**generate(), "redisPassword": ""}))
        assert raised.value.message == "the secret lacks redisPassword"
        assert not fake.store.exists()

    def test_a_leaders_is_never_replaced(self, fake: FakeMachine, content: Content) -> None:
        deliver(content(), None)
        first = host_secret.read()
        with pytest.raises(Failure) as raised:
            host_secret.accept(json.dumps(generate()))
        assert raised.value.code == "SecretInvalid"
        assert host_secret.read() == first
        host_secret.accept(first or "")
        assert fake


class TestRelease:
    """An archive that comes from the operator's computer."""

    @pytest.fixture
    def copied(self, fake: FakeMachine) -> Path:
        file = fake.root / ".graphistry-cluster-release"
        file.write_bytes(tarball())
        return file

    @pytest.fixture
    def wanted(self, copied: Path) -> dict[str, Any]:
        sha256 = hashlib.sha256(copied.read_bytes()).hexdigest()
        return {"version": "2.50.1", "cuda": "12", "source": "file", "sha256": sha256}

    def test_it_is_unpacked_and_kept_for_a_host_that_loses_it(
        self,
        fake: FakeMachine,
        content: Content,
        copied: Path,
        wanted: dict[str, Any],
        make_host: Callable[..., Node],
    ) -> None:
        deliver(content(release=wanted), copied)
        assert not copied.exists()
        node = make_host(release=wanted)
        release(node)
        assert loaded(fake)
        # Nobody copies it again, and Docker may lose its images.
        deliver(content(release=wanted), copied)
        shutil.rmtree(node.folder)
        (fake.root / "loaded").unlink()
        release(make_host(release=wanted))
        assert loaded(fake)

    def test_one_that_is_unpacked_needs_no_copy(
        self,
        fake: FakeMachine,
        content: Content,
        copied: Path,
        wanted: dict[str, Any],
        make_host: Callable[..., Node],
    ) -> None:
        deliver(content(release=wanted), copied)
        release(make_host(release=wanted))
        incoming.place(wanted["sha256"]).unlink()
        deliver(content(release=wanted), copied)
        release(make_host(release=wanted))

    def test_half_a_copy_is_told_by_its_checksum_and_not_kept(
        self,
        fake: FakeMachine,
        content: Content,
        copied: Path,
        wanted: dict[str, Any],
        make_host: Callable[..., Node],
    ) -> None:
        copied.write_bytes(copied.read_bytes()[: copied.stat().st_size // 2])
        deliver(content(release=wanted), copied)
        with pytest.raises(Failure) as raised:
            release(make_host(release=wanted))
        assert raised.value.code == "ReleaseChecksumMismatch"
        assert list((fake.home / "incoming").iterdir()) == []
        with pytest.raises(Failure, match="was not delivered, or was another") as raised:
            release(make_host(release=wanted))
        assert raised.value.code == "ReleaseUnavailable"

    def test_a_copy_that_is_not_there_is_told_at_the_delivery(
        self, fake: FakeMachine, content: Content, wanted: dict[str, Any]
    ) -> None:
        with pytest.raises(Failure) as raised:
            deliver(content(release=wanted), fake.root / "missing")
        assert raised.value.code == "ReleaseUnavailable"
        assert not (fake.home / "wanted.json").exists()

    def test_one_that_nobody_wants_any_more_leaves_the_disk(
        self, content: Content, copied: Path, wanted: dict[str, Any]
    ) -> None:
        old = incoming.place("1" * 64)
        old.parent.mkdir()
        old.touch()
        deliver(content(release=wanted), copied)
        assert not old.exists()
        assert incoming.place(wanted["sha256"]).exists()
        deliver(content(), None)
        assert not incoming.place(wanted["sha256"]).exists()


class TestGuests:
    """Addresses of other stacks' followers."""

    def test_a_stack_is_known_by_its_whole_name(self, fake: FakeMachine, content: Content) -> None:
        deliver(content(), None)
        guests.admit("acme/graphistry/gpu-team", '["10.77.0.22", "10.77.0.21"]')
        guests.admit("acme/graphistry/other", '["10.77.0.21"]')
        assert guests.by_stack() == {
            "acme/graphistry/gpu-team": ["10.77.0.21", "10.77.0.22"],
            "acme/graphistry/other": ["10.77.0.21"],
        }
        assert guests.addresses() == ["10.77.0.21", "10.77.0.22"]
        guests.admit("acme/graphistry/gpu-team", "[]")
        guests.admit("acme/graphistry/gpu-team", "[]")
        assert list(guests.by_stack()) == ["acme/graphistry/other"]
        files = [each.name for each in (fake.store / "guests").iterdir()]
        assert files == ["acme%2Fgraphistry%2Fother.json"]

    @pytest.mark.parametrize("text", ["", "{}", '["*"]', '["10.77.0.21(rw)"]', "[1]", '["::1"]'])
    def test_what_is_no_list_of_addresses_is_refused(
        self, fake: FakeMachine, content: Content, text: str
    ) -> None:
        deliver(content(), None)
        with pytest.raises(Failure) as raised:
            guests.admit("stack", text)
        assert raised.value.code == "GuestsRefused"
        assert not (fake.store / "guests").exists()

    def test_no_two_have_one_address_inside_the_tunnel(self, content: Content) -> None:
        """Of several nodes with an address, WireGuard sends to the last one."""
        tunnel = {"network": "198.18.0.0/15", "port": 51820, "leader": "10.77.0.10"}
        site = {"kind": "hosts", "address": "127.0.0.1", "tunnel": tunnel}
        deliver(content(site=site), None)
        guests.admit("team", '["10.77.0.11", "10.77.0.21"]')
        guests.admit("team", '["10.77.0.11", "10.77.0.21"]')
        for address in ("10.79.0.10", "10.79.0.11", "10.79.0.21"):
            with pytest.raises(Failure, match=r"would be 198\.19\.0\.\d\d inside the tunnel"):
                guests.admit("other", f'["{address}"]')
        with pytest.raises(Failure, match="inside the tunnel"):
            guests.admit("other", '["10.77.0.31", "10.79.0.31"]')
        assert guests.addresses() == ["10.77.0.11", "10.77.0.21"]

    def test_only_a_leader_has_guests(self, content: Content) -> None:
        with pytest.raises(Failure, match="no leader"):
            guests.admit("stack", '["10.77.0.21"]')
        deliver(content("follower"), None)
        with pytest.raises(Failure, match="no leader"):
            guests.admit("stack", '["10.77.0.21"]')

    def test_a_damaged_file_lets_nobody_in(self, fake: FakeMachine) -> None:
        (fake.store / "guests").mkdir(parents=True)
        (fake.store / "guests" / "stack.json").write_text('["10.77.0')
        assert guests.addresses() == []
