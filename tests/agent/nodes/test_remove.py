"""Taking a node away: what was installed goes, what is data stays."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.__main__ import main
from agent.converge import converge
from agent.failures import Failure
from agent.graphistry.custom_env import BEGIN, END, with_block, without_block
from agent.node import MARK, Node
from agent.sites import host_secret
from agent.sites.remove import remove
from tests.agent.fakes import FakeMachine, redirect

from .test_hosts import MakeNode, claimed, make_ready, server_answers

__all__ = ["server_answers"]  # a fixture of every test here
LINES = st.lists(st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"))), max_size=5)


@pytest.fixture
def leader(fake: FakeMachine, make_host: MakeNode) -> Node:
    (fake.root / "units").mkdir()
    (fake.root / "units" / "theirs.service").write_text("# after graphistry-cluster\n[Unit]\n")
    (fake.root / "units" / "theirs.mount").write_text("[Mount]\nWhere=/theirs\n")
    node = make_ready(make_host())
    (fake.store / "data" / "postgresql_data" / "PG_VERSION").write_text("14")
    (fake.store / "shared" / "datasets").mkdir(parents=True)
    (fake.home / "releases").mkdir()
    return node


def test_a_leader_leaves_its_data_and_nothing_else(fake: FakeMachine, leader: Node) -> None:
    assert leader
    kept = remove()
    assert kept == [
        f"kept: 127.0.0.1:{fake.store}/data (PostgreSQL)",
        f"kept: 127.0.0.1:{fake.store}/shared (shared folder)",
        f"kept: 127.0.0.1:{fake.store}/secret.json (the cluster's passwords and keys)",
        f"kept: 127.0.0.1:{fake.home}/releases (releases)",
    ]
    assert (fake.store / "data" / "postgresql_data" / "PG_VERSION").exists()
    assert [each.name for each in fake.home.iterdir()] == ["releases"]
    left = sorted(each.name for each in (fake.root / "units").rglob("*") if each.is_file())
    assert left == ["theirs.mount", "theirs.service"]
    assert not (fake.root / "table").exists()
    assert not (fake.root / "exports").exists()
    assert fake.log("exportfs")[-1] == "-ra"
    assert fake.log("graphistry")[-1] == "down"


def test_the_releases_own_files_are_theirs_again(fake: FakeMachine, leader: Node) -> None:
    assert leader
    remove()
    config = fake.release / "data" / "config"
    assert not (fake.release / "docker-compose.override.yml").exists()
    assert (config / "custom.env").read_text() == "THEIRS=1\n"
    assert (config / "cluster.env").read_text() == "ENABLE_CLUSTER_MODE=false\n"


def test_our_file_beside_somebody_elses_override_goes(fake: FakeMachine, leader: Node) -> None:
    assert leader
    theirs = "# for graphistry-cluster\nservices: {}\n"
    override, second = (fake.release / f"docker-compose.{each}.yml" for each in ("override", MARK))
    override.write_text(theirs)
    second.write_text(f"# {MARK} writes this file.\nservices: {{}}\n")
    remove()
    assert override.read_text() == theirs
    assert not second.exists()


def test_what_the_stack_file_put_into_the_release_is_taken_out(
    fake: FakeMachine, make_host: MakeNode
) -> None:
    config = fake.release / "data" / "config"
    (config / "Caddyfile").write_text("theirs\n")
    files = {"data/config/Caddyfile": "ours\n", "data/config/new": "ours\n"}
    make_ready(make_host(configuration={"env": {"SMTP_HOST": "mail.lab"}, "files": files}))
    assert (config / "Caddyfile").read_text() == "ours\n"
    remove()
    assert (config / "Caddyfile").read_text() == "theirs\n"
    assert (config / "custom.env").read_text() == "THEIRS=1\n"
    assert sorted(each.name for each in config.iterdir()) == [
        "Caddyfile",
        "cluster.env",
        "custom.env",
    ]


def test_the_vendors_units_have_their_places_again(fake: FakeMachine, make_host: MakeNode) -> None:
    units = fake.root / "units"
    units.mkdir()
    make_ready(make_host())
    (units / "graphistry.service.before-graphistry-cluster").write_text("[Unit]\n# theirs\n")
    (units / "graphistry-compose.service").symlink_to("/dev/null")
    remove()
    assert (units / "graphistry.service").read_text() == "[Unit]\n# theirs\n"
    assert "unmask graphistry-compose.service" in fake.log("systemctl")


def has_container(fake: FakeMachine, password: str) -> None:
    """A container named as PostgreSQL's, with a file as its password."""
    docker = (fake.root / "bin" / "docker").read_text()
    mounts = [
        {"Name": "pg", "Destination": "/var/lib/postgresql/data"},
        {"Source": password, "Destination": "/run/secrets/postgres-password"},
        {"Name": "f" * 64, "Destination": "/elsewhere"},
    ]
    found = json.dumps([{"Mounts": mounts}])
    answer = f"*\"inspect graphistry-cluster-postgres\") echo '{found}'; exit ;;"
    script = docker.replace("#!/bin/sh\n", "").replace(
        'case "$1" in', f'case "$*" in {answer} esac\ncase "$1" in', 1
    )
    fake.command("docker", script)


def test_somebody_elses_container_of_the_same_name_stays(
    fake: FakeMachine, make_host: MakeNode, capsys: pytest.CaptureFixture[str]
) -> None:
    make_ready(make_host(dataServices="containers", dataVolume=None))
    has_container(fake, "/srv/theirs/postgres-password")
    assert main(["strays"]) == 0
    assert not [line for line in remove() if "Docker volume" in line]
    assert not [line for line in fake.log("docker") if line.startswith(("stop", "rm"))]
    assert "volume" not in capsys.readouterr().out


def test_containers_that_no_stack_knows_are_taken_away_and_their_volume_stays(
    fake: FakeMachine, capsys: pytest.CaptureFixture[str]
) -> None:
    has_container(fake, f"{fake.store}/data-services/postgres-password")
    assert main(["strays"]) == 0
    assert "their volume pg stays" in capsys.readouterr().out
    assert "rm --volumes graphistry-cluster-postgres" in fake.log("docker")


def test_containers_of_the_data_services_go_and_their_volume_stays(
    fake: FakeMachine, make_host: MakeNode
) -> None:
    make_ready(make_host(dataServices="containers", dataVolume=None))
    has_container(fake, f"{fake.store}/data-services/postgres-password")
    kept = [line for line in remove() if "Docker volume" in line]
    assert kept == ["kept: 127.0.0.1:pg (PostgreSQL, a Docker volume)"]
    calls = [line for line in fake.log("docker") if line.startswith(("stop", "rm"))]
    assert calls == [
        "stop --time 60 graphistry-cluster-postgres",
        "rm --volumes graphistry-cluster-postgres",
    ]


def docker_ps(fake: FakeMachine, answer: str) -> None:
    """What `docker ps` does from now on."""
    script = (fake.root / "bin" / "docker").read_text().replace("#!/bin/sh\n", "")
    fake.command("docker", f'if [ "$1" = ps ]; then {answer}; exit; fi\n{script}')


def test_services_that_their_release_does_not_end_are_ended_by_docker(
    fake: FakeMachine,
    leader: Node,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert leader
    (fake.release / "graphistry").write_text("#!/bin/sh\necho 'no daemon' >&2; exit 1\n")
    (fake.root / "link").symlink_to(fake.release)
    redirect(monkeypatch, "PREINSTALLED", (fake.root / "link",))
    gone = f"{fake.home}/releases/gone-12"
    places = {
        "one": (fake.release, ""),
        "two": (gone, f"{gone}/docker-compose.yml"),
        # Of a release with another project directory.
        "three": ("/srv/data", f"/srv/base.yml,{fake.release}/docker-compose.yml"),
        "four": ("/srv/data", f"{gone}/docker-compose.yml"),
        "theirs": ("/srv/theirs", "/srv/theirs/docker-compose.yml"),
        "nobodys": ("", ""),
        "below": (f"{fake.release}/app", f"{fake.release}/app/docker-compose.yml"),
    }
    lines = "; ".join(
        f"printf '%s\\t%s\\t%s\\n' {name} '{place}' '{files}'"
        for name, (place, files) in places.items()
    )
    docker_ps(fake, lines)
    assert remove()
    assert "./graphistry down has failed: no daemon" in capsys.readouterr().err
    left = "one two three four"
    assert {f"stop --time 60 {left}", f"rm --force {left}"} <= set(fake.log("docker"))


def test_services_that_nobody_can_end_keep_their_firewall_and_mounts(
    fake: FakeMachine, leader: Node
) -> None:
    assert leader
    units = sorted((fake.root / "units").glob("*.mount"))
    (fake.release / "graphistry").write_text("#!/bin/sh\nexit 1\n")
    docker_ps(fake, "echo 'no daemon' >&2; false")
    with pytest.raises(Failure, match="the firewall, the exports and the mounts stay") as raised:
        remove()
    assert raised.value.code == "ServicesNotEnded"
    assert (fake.root / "table").exists()
    assert (fake.root / "exports").exists()
    assert sorted((fake.root / "units").glob("*.mount")) == units
    assert not fake.log("umount")
    docker_ps(fake, "true")
    assert remove()
    assert not (fake.root / "table").exists()


@pytest.mark.parametrize("lost", [("wanted.json",), ("wanted.json", "specification.json")])
def test_a_host_that_has_lost_its_specification_ends_its_services_too(
    fake: FakeMachine, leader: Node, lost: tuple[str, ...]
) -> None:
    assert leader
    for name in lost:
        (fake.home / name).unlink()
    before = len(fake.log("graphistry"))
    assert remove()
    assert fake.log("graphistry")[before:] == ["down"]
    config = fake.release / "data" / "config"
    assert (config / "cluster.env").read_text() == "ENABLE_CLUSTER_MODE=false\n"


def test_a_release_that_is_somebody_elses_goes_on(fake: FakeMachine) -> None:
    assert remove() == []
    assert fake.log("graphistry") == []


def test_the_inner_mounts_go_first(fake: FakeMachine, leader: Node) -> None:
    assert leader
    fake.command("umount", f'echo "$@" >> "{fake.root}/umount.log"')
    remove()
    shared = f"{fake.root}/shared"
    assert [line.split()[-1] for line in fake.log("umount")][-1] == shared
    assert len(fake.log("umount")) == 4


def test_a_follower_says_where_the_folder_is_that_others_keep(
    fake: FakeMachine, make_host: MakeNode
) -> None:
    make_ready(claimed(fake, make_host))
    (fake.root / "shared" / ".graphistry-cluster.json").unlink()
    kept = remove()
    assert "left alone: 127.0.0.1:/export (shared folder)" in kept
    assert not any(line.startswith("kept:") and "/export" in line for line in kept)
    # The bare folder below the mount, which the agent had closed.
    assert not (fake.root / "shared").exists()
    assert "-i " in fake.log("chattr")[-1]


def test_a_followers_copy_of_the_secret_goes_where_the_leader_has_the_same(
    fake: FakeMachine, make_host: MakeNode
) -> None:
    make_ready(claimed(fake, make_host))
    secret = fake.store / "secret.json"
    sha256 = host_secret.digest(secret.read_text())
    for known in (None, "0" * 64):
        assert any("(the cluster's passwords and keys)" in line for line in remove(known))
    assert not any("passwords" in line for line in remove(sha256))
    assert not fake.store.exists()


def test_a_leader_leaves_its_secret_whatever_it_is_told(fake: FakeMachine, leader: Node) -> None:
    assert leader
    secret = fake.store / "secret.json"
    remove(hashlib.sha256(secret.read_bytes()).hexdigest())
    assert secret.exists()


def test_a_second_time_nothing_happens(fake: FakeMachine, leader: Node) -> None:
    assert leader
    remove()
    calls = len(fake.log("graphistry"))
    assert any(line.endswith("data (PostgreSQL)") for line in remove())
    assert len(fake.log("graphistry")) == calls


def test_where_nothing_ever_was_nothing_happens(fake: FakeMachine) -> None:
    assert remove() == []
    fake.home.rmdir() if fake.home.exists() else None
    assert remove() == []


def test_it_goes_on_where_it_was_cut_off(
    fake: FakeMachine, leader: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    assert leader
    steps: tuple[str, ...] = (
        "sites.remove._stop_services",
        "folders.nfs_server.withdraw",
        "sites.remove.open_again",
        "sites.remove._remove_units",
        "sites.remove._empty_home",
    )
    for step in steps:
        with monkeypatch.context() as context:
            context.setattr(f"agent.{step}", cut_off)
            with pytest.raises(KeyboardInterrupt):
                remove()
        assert (fake.home / "wanted.json").exists()
    assert f"kept: 127.0.0.1:{fake.store}/data (PostgreSQL)" in remove()


def test_it_can_be_a_node_again(fake: FakeMachine, leader: Node, make_host: MakeNode) -> None:
    remove()
    fake.home.mkdir(exist_ok=True)
    (fake.root / "shared").mkdir(exist_ok=True)
    secret = leader.secret
    again = make_host()
    assert converge(again, lambda: False), again.report.document["failure"]
    assert again.secret == secret


def test_rules_of_ufw_come_and_go(fake: FakeMachine, leader: Node, make_host: MakeNode) -> None:
    assert leader
    (fake.root / "ufw-status").write_text("Status: active\n")
    ours = "allow from 10.77.0.{} to 127.0.0.1 port 2049,5432,6379 proto tcp"
    (fake.root / "ufw-rules").write_text(
        "Added user rules (see 'ufw status' for running firewall):\n"
        "ufw allow 22/tcp\n"
        f"ufw {ours.format(99)} comment 'graphistry-cluster'\n"
    )
    make_ready(make_host())
    calls = [line for line in fake.log("ufw") if line.startswith(("allow", "--force"))]
    assert calls == [
        f"--force delete {ours.format(99)}",
        f"{ours.format(11)} comment graphistry-cluster",
    ]
    (fake.root / "ufw-rules").write_text(
        f"ufw allow 22/tcp\nufw {ours.format(11)} comment 'graphistry-cluster'\n"
    )
    make_ready(make_host())
    assert [line for line in fake.log("ufw") if line.startswith(("allow", "--force"))] == calls
    remove()
    assert fake.log("ufw")[-1] == f"--force delete {ours.format(11)}"


@given(LINES, st.dictionaries(st.text("ABC_", min_size=1), st.text("xyz="), max_size=3))
def test_a_file_without_our_block_is_the_file_as_it_was(
    lines: list[str], variables: dict[str, str]
) -> None:
    before = "".join(f"{line}\n" for line in lines if line not in (BEGIN, END))
    assert without_block(with_block(before, variables)) == before
    assert without_block(before) == before


def test_the_report_says_nothing_of_a_removed_node(fake: FakeMachine, leader: Node) -> None:
    from agent.sites.wait import status

    assert leader
    remove()
    assert status() == {"report": None, "ageSeconds": None, "agent": "absent"}
    assert json.dumps(status())
    assert fake
