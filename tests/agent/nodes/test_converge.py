"""All phases on a machine out of shell scripts."""

import errno
import hashlib
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import agent
from agent.converge import PHASES, converge
from agent.graphistry.door import Door
from agent.graphistry.web import WebError
from agent.node import Node
from agent.phases.secrets import (
    FINGERPRINT,
    FINGERPRINT_OF_ALL,
    FOLLOWERS_KEYS,
    KEYS,
    followers_part,
    generate,
    read,
)
from agent.phases.start import is_door
from agent.sites.aws_site import AwsSite
from tests.agent.fakes import FakeMachine

SCHEMA = json.loads((Path(agent.__file__).parent / "node_report.schema.json").read_text())
MakeNode = Callable[..., Node]
MARKER = ".graphistry-cluster.json"


def unchanged() -> bool:
    return False


def failure(node: Node) -> dict[str, Any]:
    """The failure of a converge, whose report must fit the schema."""
    assert not converge(node, unchanged)
    report = node.report.document
    jsonschema.validate(report, SCHEMA)
    assert report["state"] == "failed"
    found: dict[str, Any] = report["failure"]
    return found


def claimed(fake: FakeMachine, make_node: MakeNode, **changes: Any) -> Node:
    """A follower whose leader has been there."""
    node = make_node("follower", **changes)
    values = {key: str(value) for key, value in generate().items()}
    node.store.secrets[node.specification.secret] = followers_part(values)  # type: ignore[attr-defined]
    marker = {"cluster": node.specification.cluster, "secret": "the leader's"}
    (fake.root / "shared" / MARKER).write_text(json.dumps(marker))
    return node


def override(fake: FakeMachine) -> str:
    return (fake.release / "docker-compose.override.yml").read_text()


@pytest.fixture
def leader(fake: FakeMachine, make_node: MakeNode) -> Node:
    fake.has_volume()
    return make_node()


def test_a_leader_converges_to_ready(fake: FakeMachine, leader: Node) -> None:
    assert converge(leader, unchanged), leader.report.document["failure"]
    report = leader.report.document
    assert report["state"] == "ready"
    assert [each["name"] for each in report["phases"]] == [name for name, _ in PHASES]
    unseen = {each["name"]: each["detail"] for each in report["checks"] if not each["ok"]}
    assert unseen.keys() == {"connections"}
    assert unseen["connections"].startswith("not proven: ")
    jsonschema.validate(report, SCHEMA)
    assert len(fake.log("mkfs")) == 1
    password = leader.secret["redisPassword"]
    assert '"10.40.0.10:5432:5432"' in override(fake)
    assert '"10.40.0.10:6379:6379"' in override(fake)
    assert f"redis://:{password}@redis:6379/0" in override(fake)
    assert {each.name for each in (fake.root / "shared").iterdir()} >= {
        "uploads",
        "files",
        "datasets",
        "postgresql_data",
        MARKER,
    }
    assert (fake.root / "shared" / "uploads").stat().st_mode & 0o7777 == 0o777


def test_the_door_opens_after_the_first_administrator_is_there(
    fake: FakeMachine, leader: Node
) -> None:
    converge(leader, unchanged)
    calls = [
        line for line in fake.log("graphistry") if line.startswith(("up", "exec -T nexus bash"))
    ]
    assert "caddy" not in calls[0]
    assert calls[1].startswith("exec")
    assert calls[-1] == "up -d"
    programs = (fake.root / "shell.log").read_text()
    assert "create_superuser" in programs
    assert leader.secret["adminPassword"] not in "\n".join(fake.log("graphistry"))


def administrator(node: Node) -> tuple[bool, str]:
    (found,) = [e for e in node.report.document["checks"] if e["name"] == "administrator"]
    return found["ok"], found["detail"]


def test_an_administrator_of_before_is_told(fake: FakeMachine, leader: Node) -> None:
    """Whoever signs up first is one: a database of another time may have somebody."""
    (fake.root / "superusers.json").write_text('["mallory"]')
    assert converge(leader, unchanged), leader.report.document["failure"]
    ok, detail = administrator(leader)
    assert not ok
    assert "mallory was one before" in detail
    (fake.root / "administrator-exists").touch()
    assert converge(leader, unchanged), leader.report.document["failure"]
    assert administrator(leader)[0]
    assert "mallory is one too" in administrator(leader)[1]


def test_a_new_administrator_signs_in_and_one_with_another_password_is_not_proven(
    fake: FakeMachine, leader: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal: list[Any] = ["HTTP 400", 400]

    def token(user: str, password: str) -> str:
        if user == "admin" and password == leader.secret["adminPassword"]:
            raise WebError(*refusal)
        return "bearer"

    monkeypatch.setattr("agent.graphistry.web.token", token)
    assert failure(leader)["code"] == "AdministratorRefused"
    refusal[1] = 308  # the pages are by TLS alone, and asked for without
    assert converge(leader, unchanged), leader.report.document["failure"]
    ok, detail = administrator(leader)
    assert not ok
    assert detail.startswith("not proven: ")
    refusal[1] = 400
    (fake.root / "administrator-exists").touch()
    assert converge(leader, unchanged), leader.report.document["failure"]
    assert administrator(leader) == (
        False,
        "not proven: admin does not sign in with the secret's password (HTTP 400)",
    )


def test_nobody_waits_for_pages_that_are_nobody_knows_where(
    leader: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten minutes each, where Caddy redirects to a name that no file tells."""
    door = Door("http://localhost", "http://localhost redirects to https", is_found=False)
    monkeypatch.setattr("agent.graphistry.door.find", lambda *_: door)
    monkeypatch.setattr(
        "agent.graphistry.web.token", lambda *_: pytest.fail("nobody knows whom to ask")
    )
    assert converge(leader, unchanged), leader.report.document["failure"]
    checks = {each["name"]: each for each in leader.report.document["checks"]}
    for name in ("administrator", "warmUp", "http"):
        assert checks[name]["ok"] is False
        assert checks[name]["detail"] == f"not proven: {door.why}"


def store(node: Node) -> Any:
    """Secrets Manager as a node's test has it."""
    return node.store  # type: ignore[attr-defined]


def test_followers_get_what_they_need_of_the_leaders_secret_and_no_more(leader: Node) -> None:
    assert converge(leader, unchanged), leader.report.document["failure"]
    given = json.loads(store(leader).secrets[leader.specification.followers_secret])
    assert set(given) == {*FOLLOWERS_KEYS, "schemaVersion"}
    assert {key: given[key] for key in FOLLOWERS_KEYS}.items() <= leader.secret.items()
    assert leader.secret["adminPassword"] not in json.dumps(given)


def test_a_secret_that_is_there_is_split_without_changing_a_value(
    fake: FakeMachine, leader: Node
) -> None:
    text = json.dumps(generate(), sort_keys=True)
    store(leader).secrets[leader.specification.secret] = text
    before = json.dumps(read(text), sort_keys=True)
    known = fake.root / "shared" / FINGERPRINT_OF_ALL
    known.write_text(hashlib.sha256(before.encode()).hexdigest())
    assert converge(leader, unchanged), leader.report.document["failure"]
    assert store(leader).secrets[leader.specification.secret] == text
    shared = store(leader).secrets[leader.specification.followers_secret]
    assert read(shared, FOLLOWERS_KEYS).items() <= read(text).items()
    assert (fake.root / "shared" / FINGERPRINT).exists()
    known.unlink()
    assert converge(leader, unchanged), leader.report.document["failure"]


@pytest.mark.parametrize("key", KEYS)
def test_another_secret_is_not_split(fake: FakeMachine, leader: Node, key: str) -> None:
    values = read(json.dumps(generate()))
    fingerprint = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    (fake.root / "shared" / FINGERPRINT_OF_ALL).write_text(fingerprint)
    other = {**values, key: "other", "schemaVersion": 1}
    store(leader).secrets[leader.specification.secret] = json.dumps(other)
    assert failure(leader)["code"] == "SecretInvalid"
    assert leader.specification.followers_secret not in store(leader).secrets


def test_a_leader_finds_out_that_its_followers_have_other_values(leader: Node) -> None:
    values = {key: str(value) for key, value in generate().items()}
    store(leader).secrets[leader.specification.followers_secret] = followers_part(values)
    found = failure(leader)
    assert found["code"] == "SecretInvalid"
    assert "followers' secret" in found["message"]
    assert values["redisPassword"] not in json.dumps(found)


def test_a_follower_refuses_other_values_than_the_first(
    fake: FakeMachine, make_node: MakeNode
) -> None:
    node = claimed(fake, make_node)
    (fake.root / "shared" / FINGERPRINT).write_text("0" * 64)
    assert failure(node)["code"] == "SecretInvalid"


def test_a_followers_door_opens_after_the_leader_has_made_an_administrator(
    fake: FakeMachine, make_node: MakeNode
) -> None:
    (fake.root / "no-administrator").touch()
    node = claimed(fake, make_node)
    assert failure(node)["code"] == "AdministratorMissing"
    ups = [line.split() for line in fake.log("graphistry") if line.startswith("up")]
    assert ups
    assert all("nexus" in words and "caddy" not in words for words in ups)
    (fake.root / "no-administrator").unlink()
    assert converge(node, unchanged), node.report.document["failure"]
    assert fake.log("graphistry").count("up -d") == 1


def test_a_followers_open_door_is_shut_where_the_administrator_is_gone(
    fake: FakeMachine, make_node: MakeNode
) -> None:
    node = claimed(fake, make_node)
    assert converge(node, unchanged), node.report.document["failure"]
    (fake.root / "no-administrator").touch()
    assert failure(node)["code"] == "AdministratorMissing"
    states = json.loads((fake.root / "states.json").read_text())
    assert {name: state for name, (state, _, _) in states.items()} == {
        **dict.fromkeys(states, "running"),
        "caddy": "exited",
    }


def test_whatever_publishes_a_port_is_a_door_but_the_data_services() -> None:
    ports = {"ports": [{"target": 80, "published": "80"}]}
    assert is_door("nginx", ports)
    assert is_door("notebook", {"network_mode": "host"})
    assert not is_door("nexus", ports), "it makes and finds the administrator"
    assert not is_door("postgres", ports)
    assert not is_door("redis", ports)


@pytest.mark.parametrize("broken", [False, True])
def test_what_the_vendors_image_runs_ends_in_the_first_phase(
    fake: FakeMachine, leader: Node, *, broken: bool
) -> None:
    """Whatever else is wrong with the machine: until `configure`, it accepts the vendor's password."""
    fake.gpus(0 if broken else 1)
    theirs = fake.root / "theirs.service"
    theirs.write_text("[Service]\n")
    shown = f"echo LoadState=loaded; echo FragmentPath={theirs}"
    script = (fake.root / "bin" / "systemctl").read_text().partition("\n")[2]
    asked = '"show -p LoadState,FragmentPath graphistry-compose.service"'
    fake.command("systemctl", f'[ "$*" = {asked} ] && {{ {shown}; exit; }}\n{script}')
    subprocess.run([fake.release / "graphistry", "up", "-d"], check=True)
    if broken:
        assert failure(leader)["code"] == "GpuMissing"
    else:
        assert converge(leader, unchanged), leader.report.document["failure"]
    calls = fake.log("systemctl")
    assert "disable --now graphistry-compose.service" in calls
    assert "mask graphistry-compose.service" in calls
    lines = fake.log("graphistry")
    assert lines[lines.index("down") - 1].startswith("config")
    assert lines[0] == "up -d"
    assert lines.count("down") == 1


def test_a_follower_converges_to_ready(fake: FakeMachine, make_node: MakeNode) -> None:
    node = claimed(fake, make_node)
    assert converge(node, unchanged), node.report.document["failure"]
    password = node.secret["redisPassword"]
    text = override(fake)
    assert text.count(f"redis://:{password}@leader.internal:6379/0") == 2
    assert text.count('REDIS_URL: "redis://redis:6379"') == 2  # NODE_REDIS_URL, which was absent
    services = re.findall("^  ([a-z-]+):$", text, re.MULTILINE)
    assert services == ["forge-etl-python", "nexus", "streamgl-gpu", "streamgl-viz"]
    assert (fake.release / "docker-compose.override.yml").stat().st_mode & 0o777 == 0o600
    env = (fake.release / "data" / "config" / "cluster.env").read_text()
    assert "NODE_TYPE=follower" in env
    assert "POSTGRES_HOST=leader.internal" in env
    assert not fake.log("mkfs")


def test_a_second_converge_changes_nothing(fake: FakeMachine, leader: Node) -> None:
    converge(leader, unchanged)
    before = {path: path.read_bytes() for path in files(fake)}
    secret = dict(leader.secret)
    assert converge(leader, unchanged)
    assert {path: path.read_bytes() for path in files(fake)} == before
    assert leader.secret == secret
    assert len([line for line in fake.log("systemctl") if line.startswith("start")]) == 4


def test_a_second_converge_reloads_nothing(fake: FakeMachine, leader: Node) -> None:
    """A reload of systemd, which `enable` brings too, may take the GPUs from running containers."""
    converge(leader, unchanged)
    before = len(fake.log("systemctl"))
    assert converge(leader, unchanged)
    again = fake.log("systemctl")[before:]
    assert again
    assert not [line for line in again if line.startswith("daemon-reload")]
    for line in fake.log("systemctl"):
        assert not line.startswith("enable ") or "--no-reload" in line


def test_a_release_that_is_used_again_gets_its_override_again(
    fake: FakeMachine, leader: Node
) -> None:
    converge(leader, unchanged)
    before = override(fake)
    record = fake.home / "override.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "release": "/another"}))
    assert converge(leader, unchanged), leader.report.document["failure"]
    assert override(fake) == before


def files(fake: FakeMachine) -> list[Path]:
    units = [path for path in (fake.root / "units").rglob("*") if path.is_file()]
    config = [fake.release / "docker-compose.override.yml", *(fake.release / "data").rglob("*.env")]
    return [*config, *units, fake.root / "daemon.json"]


def test_no_secret_is_in_the_report_or_the_log(
    fake: FakeMachine, leader: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    converge(leader, unchanged)
    (fake.root / "override-ignored").touch()
    (fake.release / "docker-compose.override.yml").unlink()
    converge(leader, unchanged)
    told = json.dumps(leader.report.document) + capsys.readouterr().out
    assert [name for name, value in leader.secret.items() if value in told] == []


def test_a_changed_specification_ends_the_converge_after_the_phase(leader: Node) -> None:
    answers = iter([False, False, True])
    assert not converge(leader, lambda: next(answers))
    assert [each["name"] for each in leader.report.document["phases"]] == ["preflight", "disks"]


def test_all_problems_of_the_machine_are_told_at_once(
    fake: FakeMachine, make_node: MakeNode
) -> None:
    fake.gpus(3)
    gpu = {**fake.document()["gpu"], "gpus": 4}
    node = make_node(gpu=gpu)
    assert isinstance(node.site, AwsSite)
    node.site.aws.clock_seconds = -900.0
    found = failure(node)
    assert found["code"] == "ClockSkewed"
    assert "900 s behind" in found["message"]
    assert "3 of 4 GPUs" in found["message"]


def test_an_old_driver_is_refused(fake: FakeMachine, make_node: MakeNode) -> None:
    fake.gpus(1, driver="535.1.2")
    assert failure(make_node())["code"] == "DriverTooOld"


def test_a_driver_that_has_lost_its_gpus_is_told(fake: FakeMachine, make_node: MakeNode) -> None:
    (fake.root / "nvml").write_text("18")
    (fake.root / "gpus").write_text("Failed to initialize NVML: Driver/library version mismatch")
    found = failure(make_node())
    assert found["code"] == "GpuUnavailable"
    assert "Failed to initialize NVML" in found["message"]


@pytest.mark.parametrize("version", ["2.24.3", "v2.6.0", "2.20.2-desktop.1"])
def test_a_compose_that_cannot_replace_ports_is_refused(
    fake: FakeMachine, make_node: MakeNode, version: str
) -> None:
    (fake.root / "compose-version").write_text(version)
    found = failure(make_node())
    assert found["code"] == "ComposeTooOld"
    assert "2.24.4 is needed" in found["message"]


def test_a_machine_without_compose_is_refused(fake: FakeMachine, make_node: MakeNode) -> None:
    docker = (fake.root / "bin" / "docker").read_text()
    fake.command("docker", docker.replace("compose) cat", "compose) exit 1; cat"))
    assert failure(make_node())["code"] == "ComposeTooOld"


def test_a_volume_with_something_on_it_is_never_formatted(
    fake: FakeMachine, make_node: MakeNode
) -> None:
    fake.has_volume(bytes(1000) + b"x" + bytes(2 * 1024 * 1024))
    assert failure(make_node())["code"] == "DataVolumeForeign"
    assert not fake.log("mkfs")


def test_a_partitioned_volume_is_never_formatted(fake: FakeMachine, leader: Node) -> None:
    fake.command("blkid", "echo PTTYPE=gpt")
    assert failure(leader)["code"] == "DataVolumeForeign"
    assert not fake.log("mkfs")


def test_a_volume_of_this_cluster_is_mounted_as_it_is(fake: FakeMachine, leader: Node) -> None:
    fake.command("blkid", "echo TYPE=ext4; echo USAGE=filesystem")
    assert converge(leader, unchanged)
    assert not fake.log("mkfs")


@pytest.mark.parametrize("name", ["stranger", MARKER])
def test_a_volume_of_somebody_else_is_refused(fake: FakeMachine, leader: Node, name: str) -> None:
    fake.command("blkid", "echo TYPE=ext4; echo USAGE=filesystem")
    (fake.root / "data").mkdir()
    (fake.root / "data" / name).write_text('{"cluster": "another"}')
    assert failure(leader)["code"] == "DataVolumeForeign"


def test_a_missing_volume_is_told(make_node: MakeNode) -> None:
    assert failure(make_node())["code"] == "DataVolumeMissing"


def test_a_folder_that_cannot_be_mounted_is_never_written(
    fake: FakeMachine, make_node: MakeNode
) -> None:
    fake.command("systemctl", "case $2 in *.mount) exit 1; esac")
    node = claimed(fake, make_node)
    assert failure(node)["code"] == "SharedFolderUnmounted"
    assert (fake.root / "shared").stat().st_mode & 0o777 == 0
    assert [each.name for each in (fake.root / "shared").iterdir()] == [MARKER]


@pytest.mark.parametrize(("state", "starts"), [("inactive", 1), ("active", 0)])
def test_a_unit_that_ended_with_docker_is_started_again(
    fake: FakeMachine, leader: Node, state: str, starts: int
) -> None:
    """As after a boot of a machine whose Docker is moved to a local disk; the first time, nothing has ended."""
    unit = "graphistry.service"
    assert converge(leader, unchanged)
    assert f"start {unit}" not in fake.log("systemctl")
    script = (fake.root / "bin" / "systemctl").read_text().partition("\n")[2]
    answers = f"""
        case "$*" in
            "is-enabled {unit}") echo enabled; exit ;;
            "is-active {unit}") echo {state}; exit ;;
        esac
    """
    fake.command("systemctl", answers + script)
    assert converge(leader, unchanged)
    assert fake.log("systemctl").count(f"start {unit}") == starts


@pytest.mark.parametrize("began_without", [True, False])
def test_services_that_docker_started_without_the_folder_are_stopped(
    fake: FakeMachine, make_node: MakeNode, *, began_without: bool
) -> None:
    """At boot Docker starts what ran before; whoever still holds the folder, as after a lazy unmount, goes on."""
    node = claimed(fake, make_node)
    assert converge(node, unchanged)
    if began_without:
        (fake.root / "not-held").touch()
    (fake.root / "mounts").write_text("")
    fake.command("systemctl", "case $2 in *.mount) exit 1; esac")
    assert failure(node)["code"] == "SharedFolderUnmounted"
    states = json.loads((fake.root / "states.json").read_text())
    assert {state for state, _, _ in states.values()} == {"exited" if began_without else "running"}


def test_an_efs_that_refuses_is_waited_for_as_long_as_a_new_role_takes(
    fake: FakeMachine, make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "mount.nfs4: access denied by server while mounting 127.0.0.1:/"
    fake.command("systemctl", "case $2 in *.mount) exit 1; esac")
    fake.command("journalctl", f"echo '{said}'")
    monkeypatch.setattr("agent.limits.PATIENCE", 600)
    monkeypatch.setattr("agent.phases.shared_folder.REFUSED_SECONDS", 0.5)
    found = failure(claimed(fake, make_node))
    assert found["code"] == "SharedFolderDenied"
    assert found["message"].endswith(f"within 0.5 s: {said}")
    assert "file-system policy" in found["hint"]


def test_a_folder_that_is_closed_already_is_closed_again(
    fake: FakeMachine, make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a boot without the file server: not even root changes the mode of what is immutable."""
    immutable, mode = fake.root / "immutable", Path.chmod
    fake.command("chattr", f'case $1 in +i) touch "{immutable}" ;; -i) rm -f "{immutable}" ;; esac')

    def chmod(path: Path, wanted: int) -> None:
        if path == fake.root / "shared" and immutable.exists():
            raise PermissionError(1, "Operation not permitted", str(path))
        mode(path, wanted)

    monkeypatch.setattr(Path, "chmod", chmod)
    fake.command("systemctl", "case $2 in *.mount) exit 1; esac")
    node = claimed(fake, make_node)
    assert failure(node)["code"] == "SharedFolderUnmounted"
    assert immutable.exists()
    assert failure(node)["code"] == "SharedFolderUnmounted"
    assert immutable.exists()


def test_postgresql_finds_no_empty_folder_where_its_own_is_not_mounted(
    fake: FakeMachine, leader: Node
) -> None:
    """Docker starts containers at boot by itself; initdb makes no new database in a folder with a file in it."""
    converge(leader, unchanged)
    for name in ("postgresql_data", "postgres_backups"):
        assert list((fake.root / "shared" / name).iterdir()) != []
    binds = [path.read_text() for path in (fake.root / "units").glob("*-shared-*.mount")]
    assert len(binds) == 2
    assert all("Options=bind,_netdev,nosuid,nodev\n" in each for each in binds)


def test_the_mount_helper_is_tried_for_until_the_package_manager_is_free(
    fake: FakeMachine, make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper, tries = fake.root / "mount.efs", fake.root / "tries"
    monkeypatch.setattr("agent.folders.efs.HELPER", helper)
    monkeypatch.setattr("agent.folders.efs.PAUSE_SECONDS", 0)
    monkeypatch.setattr("agent.limits.PATIENCE", 60.0)
    fake.command(
        "dnf", f'echo once >> "{tries}"; [ $(wc -l < "{tries}") -lt 3 ] || touch "{helper}"'
    )
    assert converge(claimed(fake, make_node), unchanged)
    assert len(tries.read_text().splitlines()) == 3


def test_while_the_name_is_unknown_the_addresses_are_tried(
    fake: FakeMachine, make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.folders.efs.is_known", lambda _: False)
    converge(claimed(fake, make_node), unchanged)
    units = [path.read_text() for path in (fake.root / "units").glob("*shared.mount")]
    assert "Options=_netdev,tls,iam,mounttargetip=10.40.0.20,nosuid,nodev\n" in units[0]


@pytest.mark.parametrize("other", [{"cluster": "another"}, {"secret": "another"}])
def test_a_foreign_folder_is_refused(
    fake: FakeMachine, leader: Node, make_node: MakeNode, other: dict[str, str]
) -> None:
    assert converge(leader, unchanged), leader.report.document["failure"]
    node = claimed(fake, make_node) if "cluster" in other else leader
    marker = json.loads((fake.root / "shared" / MARKER).read_text())
    (fake.root / "shared" / MARKER).write_text(json.dumps({**marker, **other}))
    found = failure(node)
    assert found["code"] == "SharedFolderForeign"
    assert "another" in found["message"]


def test_a_follower_without_leader_says_what_it_waits_for(
    fake: FakeMachine, make_node: MakeNode
) -> None:
    node = make_node("follower")
    assert failure(node)["code"] == "SharedFolderUnclaimed"
    claimed(fake, make_node)
    node.store.secrets.clear()  # type: ignore[attr-defined]
    assert failure(node)["code"] == "SecretNotFilled"


def test_a_full_folder_is_told(fake: FakeMachine, make_node: MakeNode) -> None:
    fake.probe_fails(errno.ENOSPC)
    assert failure(claimed(fake, make_node))["code"] == "SharedFolderFull"


def test_an_ignored_override_is_refused(fake: FakeMachine, leader: Node) -> None:
    (fake.root / "override-ignored").touch()
    found = failure(leader)
    assert (found["code"], found["phase"]) == ("ComposeOverrideIgnored", "configure")
    assert "nexus.environment.REDIS_URL" in found["message"]


def test_a_service_that_never_gets_healthy_is_named_with_its_log(
    fake: FakeMachine, leader: Node
) -> None:
    (fake.root / "unhealthy.json").write_text('{"streamgl-gpu": ["running", "unhealthy", 0]}')
    found = failure(leader)
    assert found["code"] == "ServiceUnhealthy"
    assert "streamgl-gpu (running unhealthy)" in found["message"]
    assert found["log"] == ["last words of streamgl-gpu"]


def test_an_unhealthy_container_among_healthy_ones_of_its_service_is_told(
    fake: FakeMachine, leader: Node
) -> None:
    assert converge(leader, unchanged), leader.report.document["failure"]
    states = json.loads((fake.root / "states.json").read_text())
    states["streamgl-viz.2"] = ["running", "unhealthy", 0]
    (fake.root / "states.json").write_text(json.dumps(states))
    found = failure(leader)
    assert found["code"] == "ServiceUnhealthy"
    assert "streamgl-viz (1 of 2: running unhealthy)" in found["message"]


def test_an_unreachable_leader_is_told(
    fake: FakeMachine, make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("connection refused")

    monkeypatch.setattr("agent.data.endpoints.max_connections", refuse)
    found = failure(claimed(fake, make_node))
    assert found["code"] == "LeaderUnreachable"
    assert "leader.internal:5432" in found["message"]


def test_a_surprise_is_a_failure_too(leader: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.phases.preflight.os_release", lambda _: 1 / 0)
    assert failure(leader)["code"] == "AgentCrashed"
