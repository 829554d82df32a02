"""Releases of other shapes than the stand-in's, read by Compose itself: each ends right, or refused with the reason.

Compose's own program reads the files; what it would run, the engine's stand-in shows (tests/agent/real_compose.py).
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.containers import engine
from agent.containers.compose import Compose
from agent.containers.engine import Container
from agent.converge import converge
from agent.data import database_folder
from agent.failures import Failure
from agent.folders import node_folder
from agent.machine.data_root import data_root
from agent.node import Node
from agent.phases import configure
from agent.phases.release import PENDING
from agent.phases.secrets import followers_part, generate
from agent.repair import Repairs
from sandbox.user_cache import cache
from tests.agent.fakes import FakeMachine

MakeNode = Callable[..., Node]
PLUGIN = "usr/libexec/docker/cli-plugins/docker-compose"

WRAPPER = """#!/bin/sh
set -eu
cd "$(dirname "$0")"
for name in custom telemetry cluster; do
    [ ! -f "data/config/$name.env" ] || set -- --env-file "data/config/$name.env" "$@"
done
exec docker compose {words}"$@"
"""
COMPOSE = """
name: graphistry
x-environment: &environment
  REDIS_URL: redis://redis:6379/0
  POSTGRES_HOST: ${POSTGRES_HOST:-postgres}
  POSTGRES_PASSWORD: ${POSTGRES_PASSWORD:-password}
  DATABASE_URL: postgres://graphistry:${POSTGRES_PASSWORD:-password}@${POSTGRES_HOST:-postgres}:5432/graphistry
x-gpu: &gpu
  <<: *environment
  CUDA_VISIBLE_DEVICES: ${CUDA_VISIBLE_DEVICES:-0}
  FORGE_NUM_WORKERS: ${FORGE_NUM_WORKERS:-4}
  STREAMGL_NUM_WORKERS: ${STREAMGL_NUM_WORKERS:-4}
  DASK_NUM_WORKERS: ${DASK_NUM_WORKERS:-1}
x-data: &data ["${LOCAL_DATASET_CACHE_DIR:-/opt/graphistry/data}:/opt/graphistry/data"]
services:
  postgres:
    image: postgres
    restart: unless-stopped
    environment: *environment
    deploy: {replicas: "${POSTGRES_REPLICAS:-1}"}
    volumes: [postgres_data:/var/lib/postgresql/data, postgres_backups:/backups]
  redis: {image: redis, restart: unless-stopped}
  nexus: {image: nexus, restart: unless-stopped, environment: *environment, volumes: *data}
  forge-etl-python: {image: etl, restart: unless-stopped, environment: *gpu, volumes: *data}
  dask-scheduler: {image: etl, restart: unless-stopped, environment: *gpu, volumes: *data}
  dask-cuda-worker: {image: etl, restart: unless-stopped, environment: *gpu, volumes: *data}
  streamgl-gpu: {image: gpu, restart: unless-stopped, environment: *gpu, volumes: *data}
  streamgl-viz: {image: viz, restart: unless-stopped, environment: *environment, volumes: *data}
  streamgl-sessions: {image: sessions, restart: unless-stopped, environment: *environment}
  caddy: {image: caddy, restart: unless-stopped, ports: ["80:80"]}
volumes:
  postgres_data: {name: v1_postgres_data}
  postgres_backups: {name: v1_postgres_backups}
"""


def compose_binary() -> Path | None:
    """Compose's own program: this computer's, or that of the machines' image."""
    homes = [
        "/usr/libexec/docker",
        "/usr/lib/docker",
        "/usr/local/lib/docker",
        str(Path.home() / ".docker"),
    ]
    found = [Path(each, "cli-plugins/docker-compose") for each in homes]
    found += sorted(cache().glob(f"machine-docker-*/overlay2/*/diff/{PLUGIN}"))
    return next((each for each in found if os.access(each, os.X_OK)), None)


@dataclass
class Shape:
    """A release whose files are real ones, on a machine out of shell scripts."""

    fake: FakeMachine

    @property
    def folder(self) -> Path:
        return self.fake.release

    @property
    def compose(self) -> str:
        return (self.folder / "docker-compose.yml").read_text()

    def write(self, text: str, name: str = "docker-compose.yml") -> None:
        file = self.folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)

    def change(self, old: str, new: str) -> None:
        """Change the release's compose file."""
        assert old in self.compose
        self.write(self.compose.replace(old, new))

    def wrapper(self, text: str) -> None:
        """Give the release another command line."""
        file = self.folder / "graphistry"
        file.write_text(text)
        file.chmod(0o755)

    def runs(self) -> dict[str, Container]:
        """What runs, by service; of several the last."""
        return {each.service: each for each in engine.all_projects() if each.process}

    def mounts(self, service: str) -> dict[str, str]:
        """Where in a service what of this machine is."""
        return {each.target: each.source for each in self.runs()[service].mounts}


@pytest.fixture
def shape(fake: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> Shape:
    binary = compose_binary()
    if binary is None:
        pytest.skip("this computer has no docker-compose, and no machine's image was unpacked yet")
    (fake.root / "compose-binary").write_text(str(binary))
    script = Path(__file__).parent.with_name("real_compose.py")
    scripted = (fake.root / "bin" / "docker").read_text().partition("\n")[2]
    real = f'case "$2" in version) ;; *) exec {sys.executable} {script} "$@" ;; esac'
    plain = f'case "$1" in container|network|volume) exec {sys.executable} {script} "$@" ;; esac'
    fake.command("docker", f'if [ "$1" = compose ]; then {real}; fi\n{plain}\n{scripted}')
    fake.has_volume()
    monkeypatch.setattr("agent.containers.compose._known", {})
    found = Shape(fake)
    found.write(COMPOSE)
    found.wrapper(WRAPPER.format(words=""))
    return found


@pytest.fixture
def follower(fake: FakeMachine, make_node: MakeNode) -> Node:
    """A follower whose leader has been there."""
    node = make_node("follower")
    values = {key: str(value) for key, value in generate().items()}
    node.store.secrets[node.specification.secret] = followers_part(values)  # type: ignore[attr-defined]
    marker = {"cluster": node.specification.cluster, "secret": "the leader's"}
    (fake.root / "shared" / ".graphistry-cluster.json").write_text(json.dumps(marker))
    return node


def ready(node: Node) -> dict[str, str]:
    """Converge; the checks' words."""
    assert converge(node, lambda: False), node.report.document["failure"]
    checks: list[dict[str, Any]] = node.report.document["checks"]
    assert all(each["ok"] or "not proven" in each["detail"] for each in checks), checks
    return {each["name"]: each["detail"] for each in checks}


def refused(node: Node) -> tuple[str, str]:
    """Converge; why that was refused: code and message."""
    assert not converge(node, lambda: False)
    failure = node.report.document["failure"]
    return failure["code"], failure["message"]


def containers(shape: Shape) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the engine shows of all containers, and their states."""
    files = (shape.fake.root / name for name in ("inspected.json", "states.json"))
    shown, states = (json.loads(each.read_text()) for each in files)
    return shown, states


PASSES = "case $1 in {commands}) ;; *) echo 'usage: graphistry up|down' >&2; exit 1 ;; esac\n"


def exec_line(wrapper: str) -> tuple[str, str]:
    """A command line until it calls Compose, and how it does."""
    before, exec_, rest = wrapper.partition("exec ")
    return before, exec_ + rest


class TestCommandLine:
    """What the release's own command line does with what it is given."""

    @pytest.fixture
    def node(self, shape: Shape, make_node: MakeNode) -> Node:
        del shape
        return make_node()

    def proven(self, shape: Shape, node: Node, *, directly: bool) -> None:
        """The node is ready and wired, twice; Compose was called *directly* or by the command line."""
        ready(node)
        ready(node)
        runs = shape.runs()
        password = node.secret["redisPassword"]
        assert runs["nexus"].environment["REDIS_URL"] == f"redis://:{password}@redis:6379/0"
        assert shape.mounts("postgres")["/var/lib/postgresql/data"].endswith("postgresql_data")
        unit = (shape.fake.root / "units/graphistry.service").read_text()
        assert ("docker compose -p" in unit) == directly
        assert ("/graphistry up -d" in unit) != directly

    def test_is_a_link(self, shape: Shape, node: Node) -> None:
        (shape.folder / "bin").mkdir()
        (shape.folder / "graphistry").rename(shape.folder / "bin/graphistry")
        (shape.folder / "graphistry").symlink_to("bin/graphistry")
        self.proven(shape, node, directly=False)

    def test_needs_a_user(self, shape: Shape, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        before, call = exec_line(WRAPPER.format(words=""))
        shape.wrapper(f'{before}echo "$HOME $USER" >> "{shape.fake.root}/user"\n{call}')
        monkeypatch.delenv("HOME", raising=False)
        monkeypatch.delenv("USER", raising=False)
        self.proven(shape, node, directly=False)
        assert set((shape.fake.root / "user").read_text().splitlines()) == {"/root root"}

    @pytest.mark.parametrize("braces", ["{ready}", '{"services": 1} {'])
    def test_says_something_before_and_behind(self, shape: Shape, node: Node, braces: str) -> None:
        before, call = exec_line(WRAPPER.format(words=""))
        shape.wrapper(
            f"{before}echo 'Graphistry {braces}'\n{call.replace('exec ', '')}\necho 'A notice {{1}}'\n"
        )
        self.proven(shape, node, directly=False)

    def test_prints_yaml_whatever_it_is_asked_for(self, shape: Shape, node: Node) -> None:
        before, call = exec_line(WRAPPER.format(words=""))
        yaml = "[ $1 != config ] || set -- config\n"
        head, loop = before.split("for name", 1)
        shape.wrapper(f"{head}{yaml}for name{loop}echo 'Welcome {{x}}'\n{call}")
        self.proven(shape, node, directly=False)

    def test_that_was_killed_once_is_not_gone_without(self, shape: Shape, node: Node) -> None:
        head, rest = WRAPPER.format(words="").split("for name", 1)
        killed = shape.fake.root / "killed"
        shape.wrapper(
            f'{head}[ -e "{killed}" ] || {{ touch "{killed}"; kill -9 $$; }}\nfor name{rest}'
        )
        self.proven(shape, node, directly=False)
        assert killed.exists()

    def test_passes_no_config(self, shape: Shape, node: Node) -> None:
        head, rest = WRAPPER.format(words="").split("for name", 1)
        passes = PASSES.format(commands="up|down|stop|restart|logs|exec|ps")
        shape.wrapper(f"{head}{passes}for name{rest}")
        self.proven(shape, node, directly=True)

    def test_passes_no_option_either(self, shape: Shape, node: Node) -> None:
        """What it starts meanwhile is stopped, before the configuration is the node's."""
        head, rest = WRAPPER.format(words="").split("for name", 1)
        passes = PASSES.format(commands="up|down|stop")
        shape.wrapper(f"{head}{passes}set -- $1\nfor name{rest}")
        self.proven(shape, node, directly=True)

    @pytest.mark.parametrize("options", ['"$@"', "$1"])
    def test_that_shows_nothing_is_looked_at_and_nothing_is_left(
        self, shape: Shape, options: str
    ) -> None:
        head, rest = WRAPPER.format(words="").split("for name", 1)
        passes = PASSES.format(commands="up|down|stop")
        shape.wrapper(f"{head}{passes}set -- {options}\nfor name{rest}")
        theirs = {"network": {"n": "theirs"}, "volume": {"v": "theirs", "old": "graphistry"}}
        made = shape.fake.root / "made.json"
        made.write_text(json.dumps(theirs))
        looked = Compose(shape.folder)
        assert looked.containers() == []
        with pytest.raises(Failure, match="no configuration"):
            looked.services()
        assert json.loads(made.read_text()) == theirs
        assert not (shape.fake.root / "states.json").exists()

        other = {"nexus": {"Config": {"Labels": {"com.docker.compose.project": "other"}}}}
        for name, document in (("inspected", other), ("states", {"nexus": ["exited", "", 0]})):
            (shape.fake.root / f"{name}.json").write_text(json.dumps(document))
        with pytest.raises(Failure, match="no configuration"):
            Compose(shape.folder, may_make=True).services()
        assert not any(" up" in each for each in shape.fake.log("docker"))
        for name in ("inspected", "states"):
            (shape.fake.root / f"{name}.json").unlink()

        assert "nexus" in Compose(shape.folder, may_make=True).services()
        assert any(" up" in each for each in shape.fake.log("docker"))
        assert containers(shape) == ({}, {})
        assert json.loads(made.read_text()) == theirs
        assert "nexus" in looked.services()

    def test_names_its_files(self, shape: Shape, node: Node) -> None:
        shape.wrapper(WRAPPER.format(words="-f docker-compose.yml "))
        self.proven(shape, node, directly=True)

    def test_names_its_files_project_and_folder(self, shape: Shape, node: Node) -> None:
        shape.write("services: {nexus: {environment: {EXTRA: $EXTRA}}}\n", "compose/extra.yml")
        shape.write("EXTRA=their own\n", "compose/extra.env")
        shape.wrapper(
            WRAPPER.format(
                words="--project-directory compose -p other --env-file compose/extra.env "
                "-f docker-compose.yml -f compose/extra.yml "
            )
        )
        self.proven(shape, node, directly=True)
        nexus = shape.runs()["nexus"]
        assert nexus.environment["EXTRA"] == "their own"
        assert nexus.labels["com.docker.compose.project"] == "other"
        assert nexus.labels["com.docker.compose.project.working_dir"].endswith("/compose")

    def test_names_the_project_only_when_it_starts(self, shape: Shape, node: Node) -> None:
        before, call = exec_line(WRAPPER.format(words=""))
        head, loop = before.split("for name", 1)
        name = '[ $1 = config ] || set -- -p other "$@"\n'
        shape.wrapper(f"{head}{name}for name{loop}{call}")
        self.proven(shape, node, directly=False)

    @pytest.mark.parametrize("is_link", [False, True])
    def test_somebody_elses_override_stays_theirs(
        self, shape: Shape, node: Node, *, is_link: bool
    ) -> None:
        """The vendor's documents tell administrators to edit it, and graph-app-kit links it."""
        theirs = "# for graphistry-cluster\nservices: {nexus: {environment: {THEIRS: '1'}}}\n"
        override = shape.folder / "docker-compose.override.yml"
        if is_link:
            shape.write(theirs, "kit/override.yml")
            override.symlink_to("kit/override.yml")
        else:
            override.write_text(theirs)
        self.proven(shape, node, directly=True)
        assert override.read_text() == theirs
        assert shape.runs()["nexus"].environment["THEIRS"] == "1"
        assert (shape.folder / "docker-compose.graphistry-cluster.yml").exists()
        (warning,) = [each for each in node.report.document["warnings"] if override.name in each]
        assert "goes with this machine" in warning

    def test_files_that_do_not_say_all_are_not_called_without_it(
        self, shape: Shape, node: Node
    ) -> None:
        """A variable of the command line's own, here that of the image."""
        shape.change("image: nexus,", 'image: "nexus:${TAG:-none}",')
        before, call = exec_line(WRAPPER.format(words="-f docker-compose.yml "))
        shape.wrapper(f"{before}export TAG=1\n{call}")
        code, message = refused(node)
        assert code == "ComposeOverrideIgnored"
        assert "nexus.environment.REDIS_URL" in message

    def test_files_of_other_forms(self, shape: Shape, node: Node) -> None:
        """`extends`, `include`, profiles, and a file of variables that is not there."""
        shape.write("services: {base: {image: viz, restart: always}}\n", "base.yml")
        shape.write("services: {extra: {image: extra, restart: always}}\n", "more.yml")
        shape.change("services:\n", "include: [more.yml]\nservices:\n")
        shape.change(
            "  caddy: {",
            "  extended: {extends: {file: base.yml, service: base}}\n"
            "  never: {image: never, profiles: [never]}\n"
            "  reads: {image: reads, env_file: [{path: none.env, required: false}]}\n"
            "  caddy: {",
        )
        self.proven(shape, node, directly=False)
        assert {"extra", "extended", "reads"} <= set(shape.runs())
        assert "never" not in shape.runs()


class TestLeader:
    @pytest.fixture
    def node(self, shape: Shape, make_node: MakeNode) -> Node:
        del shape
        return make_node()

    def test_a_database_in_a_volume_is_bound_to_the_data_volume(
        self, shape: Shape, node: Node
    ) -> None:
        assert "data volume" in ready(node)["database"]
        shared = f"{shape.fake.root}/shared"
        assert shape.mounts("postgres") == {
            "/var/lib/postgresql/data": f"{shared}/postgresql_data",
            "/backups": f"{shared}/postgres_backups",
        }
        before = (shape.folder / "docker-compose.override.yml").read_text()
        ready(node)
        assert (shape.folder / "docker-compose.override.yml").read_text() == before

    def test_a_database_below_its_mount_is_bound_with_it(self, shape: Shape, node: Node) -> None:
        shape.change("postgres_data:/var/lib/postgresql/data", "postgres_data:/var/lib/postgresql")
        ready(node)
        data = f"{shape.fake.root}/shared/postgresql_data"
        assert shape.mounts("postgres")["/var/lib/postgresql"] == data

    def test_a_database_that_is_somewhere_else_already_is_refused_before_it_is_left(
        self, shape: Shape, node: Node
    ) -> None:
        ready(node)
        shown = json.loads((shape.fake.root / "inspected.json").read_text())
        volume = "/var/lib/docker/volumes/v1_postgres_data/_data"
        shown["postgres"]["Mounts"][0] = {
            "Type": "volume",
            "Source": volume,
            "Destination": "/var/lib/postgresql/data",
        }
        (shape.fake.root / "inspected.json").write_text(json.dumps(shown))
        code, message = refused(node)
        assert code == "DatabaseElsewhere"
        assert volume in message
        assert json.loads((shape.fake.root / "inspected.json").read_text()) == shown

    def test_another_folder_of_the_same_name_is_not_the_data_volume(
        self, shape: Shape, node: Node
    ) -> None:
        ready(node)
        file = shape.fake.root / "inspected.json"
        shown = json.loads(file.read_text())
        elsewhere = "/mnt/data/shared/postgresql_data"  # the vendor's documented place
        shown["postgres"]["Mounts"][0]["Source"] = elsewhere
        file.write_text(json.dumps(shown))
        code, message = refused(node)
        assert code == "DatabaseElsewhere"
        assert elsewhere in message
        assert json.loads(file.read_text()) == shown

    def test_another_way_to_the_data_volume_is_no_other_place(
        self, shape: Shape, node: Node
    ) -> None:
        ready(node)
        way = shape.fake.root / "way"
        way.symlink_to(data_root(node.specification))
        file = shape.fake.root / "inspected.json"
        shown = json.loads(file.read_text())
        shown["postgres"]["Mounts"][0]["Source"] = f"{way}/postgresql_data"
        file.write_text(json.dumps(shown))
        database_folder.require_none_elsewhere(node.specification, engine.all_projects())

    @pytest.mark.parametrize("state", ["running", "exited"])
    def test_the_database_of_an_earlier_release_is_looked_for_before_that_ends(
        self, shape: Shape, node: Node, state: str
    ) -> None:
        earlier = shape.fake.home / "releases" / "2.49.0-12"
        shutil.copytree(shape.folder, earlier)
        subprocess.run([earlier / "graphistry", "up", "-d"], check=True)
        shown, states = containers(shape)
        (shape.fake.root / "states.json").write_text(
            json.dumps({**states, "postgres": [state, "", 0]})
        )
        # This release was the node's already, so that the first phase ends nothing.
        (shape.fake.root / "units").mkdir(exist_ok=True)
        (shape.fake.root / "units/graphistry.service").write_text("# graphistry-cluster\n")
        code, message = refused(node)
        assert code == "DatabaseElsewhere"
        assert "volumes/postgres_data" in message
        assert containers(shape)[0] == shown
        assert earlier.exists()
        assert not (shape.folder / PENDING).exists()

    @pytest.mark.parametrize("place", ["volume", "/mnt/data/shared", "{shared}"])
    def test_the_database_of_a_host_that_is_taken_over_is_looked_for_before_that_ends(
        self, shape: Shape, make_host: MakeNode, place: str
    ) -> None:
        """It was somebody's; in the folder that is to be shared too, as the data volume would lie over it."""
        place = place.format(shared=shape.fake.root / "shared")
        if place != "volume":
            shape.change("[postgres_data:", f"[{place}/postgresql_data:")
        theirs = shape.fake.root / "theirs.service"
        theirs.write_text("[Service]\n")
        shown = f"echo LoadState=loaded; echo FragmentPath={theirs}"
        script = (shape.fake.root / "bin/systemctl").read_text().partition("\n")[2]
        asked = '"show -p LoadState,FragmentPath graphistry-compose.service"'
        shape.fake.command("systemctl", f'[ "$*" = {asked} ] && {{ {shown}; exit; }}\n{script}')
        subprocess.run([shape.folder / "graphistry", "up", "-d"], check=True)
        before = containers(shape)
        code, message = refused(make_host())
        assert code == "DatabaseElsewhere"
        assert ("volumes/postgres_data" if place == "volume" else place) in message
        assert containers(shape) == before
        assert "disable --now graphistry-compose.service" not in shape.fake.log("systemctl")

    @pytest.mark.parametrize("place", ["", "pgdata", "18/docker"])
    def test_the_database_of_a_container_that_is_gone_is_refused_before_one_is_begun(
        self, shape: Shape, make_host: MakeNode, place: str
    ) -> None:
        kept, empty, others = (shape.fake.root / "volumes" / name for name in ("v1", "new", "wiki"))
        empty.mkdir(parents=True)
        for each in (kept, others):
            (each / place).mkdir(parents=True)
            (each / place / "PG_VERSION").write_text("14\n")
        project = {"v1": str(kept), "new": str(empty)}
        volumes = {"graphistry": project, "wiki": {"w": str(others)}}
        (shape.fake.root / "volumes.json").write_text(json.dumps(volumes))
        host = make_host()
        code, message = refused(host)
        assert code == "DatabaseElsewhere"
        assert f"v1 ({kept})" in message
        assert "new" not in message
        assert not (shape.fake.root / "states.json").exists()
        shutil.rmtree(kept)
        ready(make_host())
        # Once there is one on the data volume, what was kept beside it is nobody's business.
        (Path(data_root(host.specification)) / "postgresql_data" / "PG_VERSION").write_text("14\n")
        kept.mkdir()
        (kept / "PG_VERSION").write_text("14\n")
        ready(make_host())

    def test_the_database_of_the_vendors_image_is_nobodys(self, shape: Shape, node: Node) -> None:
        """AWS starts a machine for the cluster, and its image a release of its own at boot."""
        subprocess.run([shape.folder / "graphistry", "up", "-d"], check=True)
        assert "volumes/postgres_data" in shape.mounts("postgres")["/var/lib/postgresql/data"]
        assert "data volume" in ready(node)["database"]

    @pytest.mark.parametrize(
        ("volume", "is_backups"),
        [
            ("v1_kept:/var/lib/pg-backups", True),
            ("./backups:/backups", True),
            ("./none:/backups", True),
            ("./backup.sh:/usr/local/bin/backup.sh:ro", False),
            ("./none.sh:/usr/local/bin/backup.sh", False),
            ("./backup.sh:/usr/local/bin/backup", False),
            ("./backups:/etc/backup-scripts:ro", False),
            ("postgres_backups:/kept", False),
        ],
    )
    def test_backups_are_a_folder_that_is_called_so_in_the_container(
        self, shape: Shape, node: Node, volume: str, is_backups: bool
    ) -> None:
        (shape.folder / "backups").mkdir()
        shape.write("#!/bin/sh\n", "backup.sh")
        shape.change("postgres_backups:/backups]", f'"{volume}"]')
        shape.change("volumes:\n  postgres_data", "volumes:\n  v1_kept: {}\n  postgres_data")
        ready(node)
        backups = f"{shape.fake.root}/shared/postgres_backups"
        assert (shape.mounts("postgres")[volume.split(":")[1]] == backups) == is_backups

    def test_a_release_that_ignores_the_dataset_folder_is_refused(
        self, shape: Shape, node: Node
    ) -> None:
        shape.change("${LOCAL_DATASET_CACHE_DIR:-/opt/graphistry/data}", "./data/datasets")
        code, message = refused(node)
        assert code == "ConfigurationIgnored"
        assert "LOCAL_DATASET_CACHE_DIR" in message
        assert shape.runs() == {}

    def test_a_service_with_another_dataset_folder_is_told(self, shape: Shape, node: Node) -> None:
        shape.change(
            "sessions, restart: unless-stopped,",
            'sessions, restart: unless-stopped, volumes: ["./data/own:/opt/graphistry/data"],',
        )
        (shape.fake.root / "not-held").write_text("streamgl-sessions")
        code, message = refused(node)
        assert code == "SharedFolderUnmounted"
        assert "streamgl-sessions" in message

    def test_renamed_services_are_refused(self, shape: Shape, node: Node) -> None:
        shape.change("  redis: {image", "  redis-server: {image")
        code, message = refused(node)
        assert code == "ServicesUnknown"
        assert "no service redis;" in message
        assert shape.runs() == {}

    def test_data_services_are_published_on_the_private_address_alone(
        self, shape: Shape, node: Node
    ) -> None:
        shape.change("image: redis,", 'image: redis, ports: ["6379:6379"],')
        shape.change("image: postgres\n", 'image: postgres\n    ports: ["5432:5432"]\n')
        assert "the pages by caddy" in ready(node)["ports"]
        assert [each.address for each in shape.runs()["redis"].published] == ["10.40.0.10"]
        assert [each.address for each in shape.runs()["postgres"].published] == ["10.40.0.10"]

    @pytest.mark.parametrize("port", ["80:8080", "8080:80", "8443:443"])
    def test_whoever_publishes_the_pages_is_named(
        self, shape: Shape, node: Node, port: str
    ) -> None:
        shape.change('"80:80"', f'"{port}"')
        assert "the pages by caddy" in ready(node)["ports"]

    def test_the_nodes_own_folder_may_be_where_others_have_the_shared_one(
        self, shape: Shape, node: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(node_folder, "missing", lambda *_: None)  # its containers are words
        (shape.folder / "data" / "notebooks").mkdir(parents=True)
        own = '["./data/notebooks:/opt/graphistry/data"]'
        shape.change(
            "services:\n",
            f"services:\n  notebook: {{image: nb, restart: unless-stopped, volumes: {own}}}\n",
        )
        (shape.fake.root / "not-held").write_text("notebook")
        ready(node)
        assert shape.mounts("notebook")["/opt/graphistry/data"].endswith("nodes/leader/notebooks")

    def test_another_way_to_a_data_service_is_told(self, shape: Shape, node: Node) -> None:
        shape.change("services:\n", 'services:\n  proxy: {image: socat, ports: ["15432:5432"]}\n')
        assert refused(node) == ("PortsOpen", "proxy is published on 0.0.0.0:15432")

    def test_telemetrys_ports_are_told(self, shape: Shape, node: Node) -> None:
        more = '  grafana: {image: g, ports: ["3000:3000"]}\n  jaeger: {image: j, ports: ["127.0.0.1:16686:16686"]}\n'
        shape.change("services:\n", f"services:\n{more}")
        told = "port 3000 of grafana (Grafana) is closed by the cluster's security groups"
        assert ready(node)["ports"].split("; ")[2:] == [told]
        assert told not in node.report.document["warnings"]

    def test_a_job_and_several_containers_of_a_service(self, shape: Shape, node: Node) -> None:
        health = 'healthcheck: {test: ["CMD", "true"]}'
        shape.change(
            "services:\n",
            f'services:\n  migrate: {{image: nexus, restart: "no", {health}}}\n'
            f'  once: {{image: nexus, restart: "no", healthcheck: {{disable: true}}}}\n',
        )
        shape.change(
            "nexus: {image: nexus,",
            "nexus: {image: nexus, depends_on: {migrate: {condition: service_completed_successfully}},",
        )
        shape.change("image: viz,", "image: viz, deploy: {replicas: 3},")
        ready(node)
        found = [each.service for each in engine.all_projects()]
        assert found.count("streamgl-viz") == 3

    @pytest.mark.parametrize(
        ("theirs", "flags"),
        [
            ("redis-server --appendonly yes", ["redis-server", "--appendonly", "yes"]),
            ("--maxmemory 1gb", ["redis-server", "--maxmemory", "1gb"]),
            (
                "redis-server /etc/own.conf --requirepass ${CACHE_PASSWORD:-x}",
                ["redis-server", "/etc/own.conf", "--requirepass", "x"],
            ),
        ],
    )
    def test_redis_keeps_its_flags_and_has_our_settings_last(
        self, shape: Shape, node: Node, theirs: str, flags: list[str]
    ) -> None:
        shape.change("image: redis,", f'image: redis, command: "{theirs}",')
        ready(node)
        ready(node)
        shown = json.loads((shape.fake.root / "inspected.json").read_text())["redis"]
        assert shown["Config"]["Cmd"] == [*flags, "--include", "/etc/redis/redis.conf"]
        assert shape.mounts("redis")["/etc/redis/redis.conf"].endswith("redis.conf")

    def test_flags_that_an_override_has_replaced_come_back_with_the_next_release(
        self, shape: Shape, node: Node
    ) -> None:
        """Earlier versions replaced Redis's whole command."""

        def command() -> list[str]:
            ready(node)
            shown = json.loads((shape.fake.root / "inspected.json").read_text())
            return list(shown["redis"]["Config"]["Cmd"])

        shape.change("image: redis,", 'image: redis, command: "--maxmemory 1gb",')
        flags = command()
        override = node.folder / "docker-compose.override.yml"
        ours = ["redis-server", "/etc/redis/redis.conf"]
        override.write_text(override.read_text().replace(json.dumps(flags), json.dumps(ours)))
        assert command() == ours
        record = configure._record()
        record.write_text(json.dumps({**json.loads(record.read_text()), "release": "/another"}))
        assert command() == flags

    def test_a_redis_behind_a_shell_is_refused(self, shape: Shape, node: Node) -> None:
        shape.change(
            "image: redis,", "image: redis, command: sh -c 'exec redis-server --port 6379',"
        )
        code, message = refused(node)
        assert code == "ServicesUnknown"
        assert "starts sh" in message

    def test_a_command_line_that_does_not_read_custom_env(self, shape: Shape, node: Node) -> None:
        shape.wrapper(WRAPPER.format(words="").replace("custom telemetry", "telemetry"))
        ready(node)
        nexus = shape.runs()["nexus"].environment
        assert nexus["POSTGRES_PASSWORD"] == node.secret["postgresPassword"]
        assert nexus["DJANGO_SECRET_KEY"] == node.secret["djangoSecretKey"]
        assert (
            shape.runs()["postgres"].environment["POSTGRES_PASSWORD"] == nexus["POSTGRES_PASSWORD"]
        )

    @pytest.mark.parametrize("is_read", [True, False])
    def test_a_variable_of_the_stack_file_without_effect_is_told(
        self, shape: Shape, make_node: MakeNode, is_read: bool
    ) -> None:
        env = {"SMTP_HOST": "mail.lab", "COOKIE_SECURE": "true", "GREETING": "a $b", "LEVEL": "5"}
        node = make_node(configuration={"env": env, "files": {}})
        more = '{image: nexus, restart: unless-stopped, environment: {MAIL: "${SMTP_HOST:-}",'
        more += ' GREETING: "${GREETING:-}", LEVEL: "7"}}'
        shape.change("services:\n", f"services:\n  mailer: {more}\n")
        if not is_read:
            shape.wrapper(WRAPPER.format(words="").replace("custom telemetry", "telemetry"))
        ready(node)
        ready(node)
        told = [each for each in node.report.document["warnings"] if "configuration" in each]
        level = "configuration.env.LEVEL does not reach mailer: the release has another value"
        nowhere = "the release hands on nothing of data/config/custom.env"
        unread = [
            f"configuration.env.COOKIE_SECURE reaches no service: {nowhere}",
            level.replace("LEVEL", "GREETING"),
            level,
            f"configuration.env.SMTP_HOST reaches no service: {nowhere}",
        ]
        # By another name, and by what the command line does with it, a variable may have an effect.
        assert told == ([level] if is_read else unread)

    def test_a_container_that_is_older_than_the_configuration_is_made_anew(
        self, shape: Shape, node: Node
    ) -> None:
        ready(node)
        file = shape.fake.root / "inspected.json"
        shown = json.loads(file.read_text())
        shown["nexus"]["Config"]["Env"] = ["REDIS_URL=redis://elsewhere:6379/0"]
        file.write_text(json.dumps(shown))
        repairs = Repairs(node)
        repairs.look()
        failure = node.report.document["failure"]
        assert failure["code"] == "ComposeOverrideIgnored"
        assert "nexus.environment.REDIS_URL" in failure["message"]
        assert "elsewhere" not in json.dumps(node.report.document)
        repairs.look()
        assert node.report.document["state"] == "ready"

    def test_a_service_that_talks_to_a_third_place_is_told(
        self, shape: Shape, node: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("agent.graphistry.connections._addresses", lambda _: {"10.40.0.10"})
        assert "not proven" in ready(node)["connections"]
        shape.fake.connects(os.getpid(), "10.9.9.9:6379")
        code, message = refused(node)
        assert code == "ConnectedElsewhere"
        assert "nexus talks to 10.9.9.9:6379's Redis" in message


class TestFollower:
    @pytest.fixture
    def node(self, shape: Shape, follower: Node) -> Node:
        (shape.folder / "data/config/telemetry.env").write_text("POSTGRES_REPLICAS=0\n")
        return follower

    def test_a_postgres_of_no_replicas_is_none(self, shape: Shape, node: Node) -> None:
        ready(node)
        assert "postgres" not in shape.runs()

    def test_a_postgres_that_would_run_is_refused(self, shape: Shape, node: Node) -> None:
        (shape.folder / "data/config/telemetry.env").unlink()
        code, message = refused(node)
        assert code == "ConfigurationIgnored"
        assert "PostgreSQL of its own" in message

    def test_nothing_of_the_data_services_is_published(self, shape: Shape, node: Node) -> None:
        shape.change("image: redis,", 'image: redis, ports: ["6379:6379"],')
        assert "no data service" in ready(node)["ports"]
        assert shape.runs()["redis"].published == ()

    def test_a_redis_in_the_machines_network_is_told(self, shape: Shape, node: Node) -> None:
        shape.change("image: redis,", "image: redis, network_mode: host,")
        code, message = refused(node)
        assert code == "PortsOpen"
        assert "redis has the machine's network" in message

    def test_a_release_whose_redis_is_in_its_code(self, shape: Shape, node: Node) -> None:
        shape.change("  REDIS_URL: redis://redis:6379/0\n", "")
        shape.change("  POSTGRES_HOST: ${POSTGRES_HOST:-postgres}\n", "")
        ready(node)
        runs = shape.runs()
        redis = f"redis://:{node.secret['redisPassword']}@leader.internal:6379/0"
        for name in ("nexus", "forge-etl-python"):
            assert runs[name].environment["REDIS_URL"] == redis
            assert runs[name].environment["POSTGRES_HOST"] == "leader.internal"
        assert runs["streamgl-viz"].environment["REDIS_URL"] == "redis://redis:6379/0"
