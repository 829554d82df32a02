"""What the agent writes into the release's files, and what it reads from commands."""

import json
from pathlib import Path
from typing import Any

import pytest

from agent.failures import Failure
from agent.graphistry import wiring
from agent.graphistry.custom_env import BEGIN, END, quoted, with_block
from agent.machine import docker, systemd
from agent.machine.aws_disks import signature
from agent.machine.docker import with_gpus
from agent.phases.configure import custom_variables
from agent.phases.secrets import generate, read, user_password
from agent.specification import read as read_specification
from agent.supported import driver_verdict, os_release

from .fakes import FakeMachine, specification_document


@pytest.mark.parametrize(
    "text", ["", "A=1\n", f"A=1\n{BEGIN}\nOLD=1\n{END}\nB=2\n", f"A=1\n{BEGIN}\nOLD=1\n"]
)
def test_the_block_is_there_once_and_everything_else_as_it_was(text: str) -> None:
    found = with_block(text, {"NEW": "2"})
    assert with_block(found, {"NEW": "2"}) == found
    assert found.count(BEGIN) == found.count(END) == 1
    assert "NEW=2" in found
    assert ("A=1" in found) == ("A=1" in text)
    assert ("B=2" in found) == ("B=2" in text)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("true", "true"),
        ("smtp://h:25/?a=b", "'smtp://h:25/?a=b'"),
        ("", ""),
        ("a$HOME b # c", "'a$HOME b # c'"),
        ('{"a": "b"}', """'{"a": "b"}'"""),
        (" é", "' é'"),
    ],
)
def test_values_are_written_as_compose_reads_them(value: str, written: str) -> None:
    assert quoted(value) == written


def test_the_block_stays_where_it_was() -> None:
    found = with_block(f"A=1\n{BEGIN}\nOLD=1\n{END}\nB=2\n", {"NEW": "2"})
    assert found == f"A=1\n{BEGIN}\nNEW=2\n{END}\nB=2\n"


@pytest.mark.parametrize(
    ("driver", "cuda", "ok"),
    [
        ("590.44.01", "13", True),
        ("595.58.03", "12", True),
        ("580.126.20", "13", False),
        ("575.51.03", "12", True),
        ("575.51.02", "12", True),
        ("570.1", "12", True),
        ("569.99", "12", False),
        ("", "12", False),
    ],
)
def test_the_driver_matrix(driver: str, cuda: str, ok: bool) -> None:
    found, detail = driver_verdict(driver, cuda)
    assert found == ok
    assert ("forward compatibility" in detail) == (driver in ("575.51.02", "570.1"))


LIMITED = {"log-driver": "json-file", "log-opts": {"max-size": "100m", "max-file": "3"}}


@pytest.mark.parametrize(
    ("given", "logs"),
    [
        ({}, LIMITED),
        ({"log-driver": "json-file"}, LIMITED),
        ({"log-driver": None, "log-opts": None}, LIMITED),
        ({"log-driver": "journald"}, {"log-driver": "journald"}),
        ({"log-driver": "local"}, {"log-driver": "local"}),
        ({"log-driver": "awslogs", "log-opts": {"awslogs-group": "g"}}, None),
        ({"log-opts": {"max-size": "1m"}}, None),
    ],
)
def test_docker_keeps_its_other_settings(given: dict[str, Any], logs: Any) -> None:
    before = {"live-restore": True, **given}
    after = with_gpus(before)
    assert after["live-restore"]
    assert after["default-runtime"] == "nvidia"
    named = {key: value for key, value in after.items() if key.startswith("log-")}
    assert named == (given if logs is None else logs)
    assert with_gpus(after) == after


def test_settings_that_are_null_are_none() -> None:
    """Docker takes them for absent."""
    after = with_gpus({"runtimes": None, "exec-opts": None})
    assert list(after["runtimes"]) == ["nvidia"]
    assert after["exec-opts"] == ["native.cgroupdriver=cgroupfs"]


def test_what_must_change_is_told(fake: FakeMachine) -> None:
    (fake.root / "daemon.json").write_text('{"log-driver": "local", "default-runtime": "nvidia"}')
    found = docker.differences(with_gpus)
    assert [each.partition(":")[0] for each in found] == ["exec-opts", "runtimes"]
    assert json.loads((fake.root / "daemon.json").read_text())["log-driver"] == "local"


@pytest.mark.parametrize("before", [None, '{"log-driver":\n"journald"}'])
def test_settings_with_which_docker_does_not_restart_are_put_back(
    fake: FakeMachine, before: str | None
) -> None:
    file = fake.root / "daemon.json"
    if before is not None:
        file.write_text(before)
    refuses = f'grep -q default-runtime "{file}" && {{ echo "Job failed" >&2; exit 1; }}'
    fake.command(
        "systemctl",
        f'echo "$@" >> "{fake.root}/systemctl.log"; [ "$1" = restart ] && {refuses}; true',
    )
    fake.command("journalctl", "echo unable to configure the Docker daemon")
    with pytest.raises(Failure, match="the file is as it was") as raised:
        docker.configure(with_gpus)
    assert raised.value.log == ["unable to configure the Docker daemon"]
    assert (file.read_text() if file.exists() else None) == before
    assert fake.log("systemctl").count("restart docker.service") == 2


def test_variables_of_os_release() -> None:
    assert os_release('ID=ubuntu\nVERSION_ID="24.04"\n') == {"ID": "ubuntu", "VERSION_ID": "24.04"}


def test_names_of_mount_units() -> None:
    assert systemd.mount_unit("/mnt/graphistry-data") == r"mnt-graphistry\x2ddata.mount"


def test_what_is_mounted_is_read_from_the_kernel(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        "24 1 0:22 / / rw - overlay overlay rw\n"
        "36 24 0:35 / /mnt/graphistry rw,relatime shared:1 - fuse.sshfs host:/ rw\n"
        "37 36 0:36 / /mnt/a\\040b rw - ext4 /dev/x rw\n"
    )
    assert systemd.mounted("/mnt/graphistry", table) == "fuse.sshfs"
    assert systemd.mounted("/mnt/a b", table) == "ext4"
    assert systemd.mounted("/mnt", table) is None


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("exit 2", {}),
        ("echo DEVNAME=/dev/x; echo TYPE=ext4; echo USAGE=filesystem", {"TYPE": "ext4"}),
        ("echo PTTYPE=gpt", {"PTTYPE": "gpt"}),
        ("echo 'ambivalent result' >&2; exit 2", {"TYPE": "ambivalent result"}),
    ],
)
def test_what_is_on_a_disk(fake: FakeMachine, script: str, found: dict[str, str]) -> None:
    fake.command("blkid", script)
    seen = signature(Path("/dev/x"))
    assert found.items() <= seen.items()
    assert bool(seen) == bool(found)


def test_generated_secrets_are_read_back_and_need_no_quoting() -> None:
    text = json.dumps(generate())
    values = read(text)
    assert all(value.replace("-", "").replace("=", "").isalnum() for value in values.values())
    assert values != read(json.dumps(generate()))
    assert len(values["djangoSecretKey"]) <= 50
    assert user_password(values, "a") == user_password(values, "a") != user_password(values, "b")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"postgresPassword": 5}'])
def test_a_malformed_secret_is_refused_without_its_values(text: str) -> None:
    with pytest.raises(Failure) as raised:
        read(text)
    assert raised.value.code == "SecretInvalid"


def test_a_secret_that_lacks_keys_names_them_alone() -> None:
    values = {**generate(), "redisPassword": ""}
    with pytest.raises(Failure, match=r"lacks redisPassword$"):
        read(json.dumps(values))


def test_services_that_the_release_wires_to_the_leader_wrongly_are_taken_back() -> None:
    document = specification_document("follower", Path("/mnt/graphistry"))
    specification = read_specification(json.dumps(document).encode())
    secret = {key: str(value) for key, value in generate().items()}
    services = {
        name: {"environment": {"REDIS_URL": "redis://leader.internal:6379/0"}}
        for name in ("nexus", "streamgl-viz")
    }
    wanted = wiring.wanted(specification, secret, "10.40.0.11", Path("/x"), services, {})
    changes = wiring.differences(wanted, services)
    assert {each for each in changes if each.endswith(".REDIS_URL")} == {
        "nexus.environment.REDIS_URL",
        "streamgl-viz.environment.REDIS_URL",
    }
    text = wiring.override(wanted, changes)
    assert f'REDIS_URL: "redis://:{secret["redisPassword"]}@leader.internal:6379/0"' in text
    assert 'REDIS_URL: "redis://redis:6379/0"' in text


def test_code_of_users_gets_no_secret_of_the_products_and_hears_nobody() -> None:
    document = specification_document("follower", Path("/mnt/graphistry"))
    specification = read_specification(json.dumps(document).encode())
    secret = {key: str(value) for key, value in generate().items()}
    variables = custom_variables(specification, secret, {})
    ours = set(secret.values()) - {secret["schemaVersion"]}
    given = {name for name, value in variables.items() if value in ours}
    assert len(given) == 6
    environment = {**variables, "REDIS_URL": "redis://redis:6379/0"}
    services = {name: {"environment": environment} for name in wiring.USERS_CODE}
    wanted = wiring.wanted(specification, secret, "10.40.0.11", Path("/x"), services, {})
    changes = wiring.differences(wanted, services)
    for name in wiring.USERS_CODE:
        assert {f"{name}.environment.{each}" for each in {*given, "REDIS_URL"}} <= set(changes)
    text = wiring.override(wanted, changes)
    assert text.count('cap_drop: ["NET_RAW"]') == len(wiring.USERS_CODE)
    assert text.count('POSTGRES_PASSWORD: ""') == len(wiring.USERS_CODE)
    assert not any(value in text for value in secret.values())
    taken = {"environment": dict.fromkeys(environment, ""), "cap_drop": ["CAP_NET_RAW"]}
    assert wiring.differences(wanted, dict.fromkeys(wiring.USERS_CODE, taken)) == []


def test_code_of_users_gets_no_secret_variable_of_the_stack_file_either() -> None:
    document = specification_document("follower", Path("/mnt/graphistry"))
    specification = read_specification(json.dumps(document).encode())
    secret = {key: str(value) for key, value in generate().items()}
    names = ("nexus", *wiring.USERS_CODE)
    services = {name: {"environment": {"SMTP_PASSWORD": "canary"}} for name in names}
    wanted = wiring.wanted(
        specification,
        secret,
        "10.40.0.11",
        Path("/x"),
        services,
        {},
        withheld={"SMTP_PASSWORD": "canary"},
    )
    emptied = [name for name in names if "SMTP_PASSWORD" in wanted[name]["environment"]]
    assert emptied == list(wiring.USERS_CODE)
    text = wiring.override(wanted, wiring.differences(wanted, services))
    assert text.count('SMTP_PASSWORD: ""') == len(wiring.USERS_CODE)
    assert "canary" not in text


@pytest.mark.parametrize("role", ["leader", "follower"])
def test_variables_are_set_where_they_are_absent(role: str) -> None:
    """Their default may be in the code of a service, which no file of the release shows."""
    document = specification_document(role, Path("/mnt/graphistry"))
    specification = read_specification(json.dumps(document).encode())
    secret = {key: str(value) for key, value in generate().items()}
    services: dict[str, Any] = {
        name: {} for name in (*wiring.LEADERS_REDIS, *wiring.OWN_REDIS, "pivot", "redis")
    }
    if role == "leader":
        services["postgres"] = {}
    wanted = wiring.wanted(specification, secret, "10.40.0.10", Path("/x"), services, {})
    given = {name: settings["environment"] for name, settings in wanted.items()}
    leaders = f"redis://:{secret['redisPassword']}@{'redis' if role == 'leader' else 'leader.internal'}:6379"
    own = leaders if role == "leader" else "redis://redis:6379"
    urls = {name: each["REDIS_URL"] for name, each in given.items() if "REDIS_URL" in each}
    assert urls == {
        **dict.fromkeys(wiring.LEADERS_REDIS, f"{leaders}/0"),
        **dict.fromkeys(wiring.OWN_REDIS, f"{own}/0"),
    }
    assert given["streamgl-viz"]["NODE_REDIS_URL"] == own
    host = "postgres" if role == "leader" else "leader.internal"
    hosts = {name: each["POSTGRES_HOST"] for name, each in given.items() if "POSTGRES_HOST" in each}
    assert hosts == dict.fromkeys(wiring.POSTGRES_CLIENTS, host)
    assert given["nexus"]["DJANGO_SECRET_KEY"] == secret["djangoSecretKey"]
    assert given["forge-etl-python"]["FORGE_NUM_WORKERS"] == "4"
    assert given["dask-cuda-worker"]["CUDA_VISIBLE_DEVICES"] == "0"
    assert given.get("postgres", {}).get("POSTGRES_PASSWORD") == (
        secret["postgresPassword"] if role == "leader" else None
    )
    somebodys = {**services, "streamgl-gpu": {"environment": {"STREAMGL_NUM_WORKERS": "9"}}}
    wanted = wiring.wanted(specification, secret, "10.40.0.10", Path("/x"), somebodys, {})
    assert "STREAMGL_NUM_WORKERS" not in wanted["streamgl-gpu"]["environment"]
