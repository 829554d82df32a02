"""The key `configuration`: what of a release a stack file may say, and what the program says itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.containers import compose_files
from agent.folders import node_folder
from agent.graphistry import wiring
from agent.machine.data_root import POSTGRES_FOLDERS
from agent.phases.configure import cluster_env, custom_variables
from agent.phases.secrets import generate
from agent.specification import read
from model.problems import SettingsError
from model.settings import configuration
from model.settings.configuration import OWN, document
from model.settings.hosts import HostsSettings
from model.settings.read import parse
from tests.agent.fakes import specification_document
from tests.model.examples import FULL, HOSTS, SMALLEST, changed

SERVICES = (*wiring.PUBLISHED, *wiring.LEADERS_REDIS, *wiring.OWN_REDIS, *wiring.USERS_CODE)
CADDYFILE = "sandbox/release/files/data/config/Caddyfile"


def problem(value: dict[str, Any], key: str = "configuration") -> str:
    with pytest.raises(SettingsError) as raised:
        parse(changed(SMALLEST, {key: value}))
    (found,) = raised.value.problems
    return str(found)


def test_a_nodes_own_go_before_those_of_the_cluster() -> None:
    settings = parse(HOSTS)
    assert isinstance(settings, HostsSettings)
    found = [
        document(settings.configuration, settings.configuration_of(node))["env"]
        for node in settings.nodes
    ]
    assert found == [
        {"SMTP_HOST": "mail.lab"},
        {"SMTP_HOST": "mail.rack2.lab", "COOKIE_SECURE": "true"},
    ]


def test_the_content_of_a_file_is_in_the_document_and_not_its_place() -> None:
    settings = parse(FULL)
    found = document(settings.configuration, settings.configuration_of("small"))
    text = (configuration.ROOT / CADDYFILE).read_text()
    assert found["files"] == {"data/config/Caddyfile": text}


def test_what_the_agent_sets_itself_is_known_here(tmp_path: Path) -> None:
    secret = dict.fromkeys(generate(), "x")
    own = set(compose_files.NUMBERS)
    for role in ("leader", "follower"):
        specification = read(json.dumps(specification_document(role, tmp_path)).encode())
        own |= {line.partition("=")[0] for line in cluster_env(specification).splitlines()[1:]}
        own |= set(custom_variables(specification, secret, {}))
        # Of a release that has all of them, and of one that has none.
        for given in (dict.fromkeys(OWN, "x"), {}):
            services = {each: {"environment": given} for each in SERVICES}
            wanted = wiring.wanted(specification, secret, "10.40.0.10", tmp_path, services, {})
            own |= {name for each in wanted.values() for name in each["environment"]}
    assert own <= set(OWN)
    # A release of its own words may have a password of Redis, which is the cluster's.
    assert set(OWN) - own == {"REDIS_PASSWORD", "PGDATA", "POSTGRES_DB", "POSTGRES_USER"}


def test_folders_that_the_agent_lays_elsewhere_are_known_here() -> None:
    assert configuration._OF_USERS == node_folder.MADE_BY_USERS
    assert configuration._OF_POSTGRES == POSTGRES_FOLDERS


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("FORGE_NUM_WORKERS", "workersPerGpu.forge"),
        ("LOCAL_DATASET_CACHE_DIR", "sharedFolder"),
        ("POSTGRES_PASSWORD", "the leader makes it"),
        ("PGDATA", "a database that exists is not found"),
    ],
)
def test_a_variable_of_the_agents_is_refused_with_the_key_to_use(name: str, key: str) -> None:
    said = problem({"env": {name: "canary"}})
    assert "the program sets it" in said
    assert key in said
    assert "canary" not in said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"env": {"A": "one\ntwo"}}, "one line"),
        ({"env": {"A": "it's"}}, "between single quotes"),
        ({"env": {"A": "C:\\"}}, "between single quotes"),
        ({"env": {"A": 1}}, "text in quotes"),
        ({"env": {"A-B": "1"}}, "the name of a variable"),
        ({"files": {"/etc/passwd": CADDYFILE}}, "from the release's folder on"),
        ({"files": {"data/../../x": CADDYFILE}}, "from the release's folder on"),
        ({"files": {"data/config/custom.env": CADDYFILE}}, "use configuration.env"),
        ({"env": {"SMTP_PASSWORD": "canary"}}, "it sounds like a secret"),
        ({"env": {"COMPOSE_FILE": "canary"}}, "Docker Compose's own"),
        ({"files": {"data/notebooks/a.py": CADDYFILE}}, "no service would see the file"),
        ({"files": {"graphistry": CADDYFILE}}, "the release's own command line"),
        ({"files": {"data/x": "stacks/missing"}}, "cannot be read: No such file"),
        ({"files": {"data/x": "stacks"}}, "cannot be read: Is a directory"),
        ({"files": {f"data/{n}": CADDYFILE for n in range(21)}}, "at most 20 files"),
        ({"environment": {}}, "env, files"),
    ],
)
def test_what_a_release_cannot_take_is_refused(value: dict[str, Any], said: str) -> None:
    for key in ("configuration", "leader.configuration"):
        found = problem(value, key)
        assert said in found
        assert "canary" not in found


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"-----BEGIN EC PRIVATE KEY-----\ncanary", "a private key would stand"),
        (b"\xff\xfe", "no text in UTF-8"),
        (b"x" * 70_000, "65536 are the most"),
    ],
)
def test_a_file_that_cannot_be_in_a_specification_is_refused(
    tmp_path: Path, content: bytes, said: str
) -> None:
    (tmp_path / "file").write_bytes(content)
    found = problem({"files": {"data/caddy/key.pem": str(tmp_path / "file")}})
    assert said in found
    assert "canary" not in found


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"FORGE_NUM_WORKERS": "canary"}, "workersPerGpu.forge"),
        ({"POSTGRES_PASSWORD": "canary"}, "the leader makes it"),
        ({"COMPOSE_FILE": "canary"}, "Docker Compose's own"),
        ({"A-B": "canary"}, "the name of a variable such as SMTP_PASSWORD"),
        ({"A": "one\ncanary"}, "text of several lines"),
        ({"A": "it's canary"}, "between single quotes"),
        ({"A": "canary" * 1000}, "text of 6000 characters"),
        ({"A": ""}, "text of 0 characters"),
        ({"A": 5}, "an encrypted text of 1 to 4096 characters"),
        ({f"A{n}": "canary" * 600 for n in range(14)}, "49152 bytes at most"),
        ("canary", "--path graphistry-cluster:secretEnv.NAME"),
    ],
)
def test_a_secret_variable_that_cannot_be_is_refused_without_its_value(
    value: object, said: str
) -> None:
    with pytest.raises(SettingsError) as raised:
        parse(changed(SMALLEST, {"secretEnv": value}))
    (found,) = map(str, raised.value.problems)
    assert said in found
    assert "canary" not in found
    assert "configuration.files" not in found


@pytest.mark.parametrize("place", ["configuration", "leader.configuration"])
def test_no_variable_is_a_secret_and_plain_at_once(place: str) -> None:
    with pytest.raises(SettingsError) as raised:
        parse(changed(SMALLEST, {place: {"env": {"A": "1"}}, "secretEnv": {"A": "canary"}}))
    (found,) = raised.value.problems
    assert found.path == f"{place}.env.A"
    assert "canary" not in str(found)


def test_the_value_of_a_secret_variable_is_in_no_repr() -> None:
    settings = parse(changed(SMALLEST, {"secretEnv": {"A": "canary"}}))
    assert "canary" not in f"{settings!r} {settings} {settings.model_dump()} {settings.secret_env}"


def test_what_sounds_like_a_secret_is_sent_to_the_key_that_encrypts() -> None:
    said = problem({"env": {"SMTP_PASSWORD": "canary"}})
    assert (
        "pulumi config set --stack STACK --secret --path graphistry-cluster:secretEnv.SMTP_PASSWORD`"
        in said
    )
