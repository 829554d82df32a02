"""All phases, and the watch afterwards, on a machine that is a host: no AWS, everything on its own disk."""

import errno
import json
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import agent
from agent.converge import PHASES, converge
from agent.machine.systemd import Mount, mount_unit
from agent.node import Node
from agent.phases import firewall, tunnel
from agent.phases.secrets import generate
from agent.repair import Repairs
from agent.sites import guests, host_secret
from model.specification import SCHEMA_FILE
from tests.agent.fakes import FakeMachine

from .test_converge import MARKER, failure, override, unchanged
from .test_repair import beyond_all_tries, lose_gpu, state

MakeNode = Callable[..., Node]
REPORT = json.loads((Path(agent.__file__).parent / "node_report.schema.json").read_text())
SPECIFICATION = json.loads(SCHEMA_FILE.read_text())


@pytest.fixture(autouse=True)
def server_answers(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether an NFS server is at work: the last element says."""
    answers = [True]
    monkeypatch.setattr("agent.folders.nfs.answers", lambda *_: answers[-1])
    monkeypatch.setattr("agent.limits.REPAIR", 0)
    return answers


def claimed(fake: FakeMachine, make_host: MakeNode, **changes: Any) -> Node:
    """A follower whose leader has been there, and whose secret was brought."""
    node = make_host("follower", **changes)
    marker = {"cluster": node.specification.cluster, "secret": None}
    (fake.root / "shared" / MARKER).write_text(json.dumps(marker))
    host_secret.create(json.dumps(generate()))
    return node


def warnings(node: Node) -> list[str]:
    found: list[str] = node.report.document["warnings"]
    return found


def make_ready(node: Node) -> Node:
    assert converge(node, unchanged), node.report.document["failure"]
    return node


def test_the_documents_of_these_tests_are_what_the_program_writes(fake: FakeMachine) -> None:
    for role in ("leader", "follower"):
        jsonschema.validate(fake.host_document(role), SPECIFICATION)


def test_a_leader_converges_to_ready(fake: FakeMachine, make_host: MakeNode) -> None:
    node = make_ready(make_host())
    report = node.report.document
    jsonschema.validate(report, REPORT)
    assert [each["name"] for each in report["phases"]] == [name for name, _ in PHASES]
    assert report["instance"] == {
        "id": "0123456789abcdef0123456789abcdef",
        "type": "host",
        "zone": "",
        "address": "127.0.0.1",
    }
    assert {each["name"] for each in report["checks"]} >= {"exports", "firewall"}
    assert '"127.0.0.1:5432:5432"' in override(fake)
    assert (fake.store / "secret.json").stat().st_mode & 0o777 == 0o600
    assert node.secret["postgresPassword"] in (fake.store / "secret.json").read_text()


def test_a_leader_exports_its_data_sets_to_its_followers_by_name(
    fake: FakeMachine, make_host: MakeNode
) -> None:
    make_ready(make_host())
    folder = fake.store / "shared"
    assert (fake.root / "exports").read_text().splitlines()[1:] == [
        f"{folder} 10.77.0.11(rw,sync,no_subtree_check,no_root_squash)"
    ]
    assert fake.log("exportfs") == ["-ra"]
    # A client walks down as nobody, and must not list what else is there.
    assert stat.S_IMODE(fake.store.stat().st_mode) == 0o711
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_the_leaders_mount_is_a_private_bind_with_postgres_over_it(
    fake: FakeMachine, make_host: MakeNode
) -> None:
    make_ready(make_host())
    units = {path.name: path.read_text() for path in (fake.root / "units").glob("*.mount")}
    shared = units[mount_unit(f"{fake.root}/shared")]
    assert f"What={fake.store}/shared\n" in shared
    assert "Options=bind,private,nosuid,nodev\n" in shared
    exported = units[mount_unit(f"{fake.store}/shared")]
    assert f"What={fake.store}/shared\nWhere={fake.store}/shared\n" in exported
    assert "Options=bind,private,nosuid,nodev\n" in exported
    data = next(text for name, text in units.items() if name.endswith("postgresql_data.mount"))
    assert f"What={fake.store}/data/postgresql_data\n" in data
    assert json.loads((fake.store / "data" / MARKER).read_text()) == {
        "cluster": "graphistry-cluster/test"
    }


def test_mounts_of_an_agent_that_left_them_open_are_closed_in_their_place(
    fake: FakeMachine, make_host: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = make_ready(make_host())
    for file in (fake.root / "units").glob("*.mount"):
        file.write_text(file.read_text().replace(",nosuid,nodev", ""))

    def mount_at(path: str) -> Mount:
        is_closed = f"--internal-only -o remount,bind,nosuid,nodev {path}" in fake.log("mount")
        options = ("rw", "nosuid", "nodev") if is_closed else ("rw", "relatime")
        if f"--internal-only -o remount,bind,nosuid,nodev,nosymfollow {path}" in fake.log("mount"):
            options = (*options, "nosymfollow")
        return Mount(path, "ext4", "8:1", "/dev/sda1", options)

    monkeypatch.setattr("agent.machine.systemd.mount_at", mount_at)
    Repairs(node).look()
    assert any("is mounted without nosuid,nodev" in each for each in warnings(node))
    assert any("is mounted without nosymfollow" in each for each in warnings(node))
    make_ready(node)
    texts = [file.read_text() for file in (fake.root / "units").glob("*.mount")]
    assert len(texts) == 4
    assert all(",nosuid,nodev\n" in each for each in texts)
    assert len(fake.log("mount")) == 6  # the data's own, too, and the folder is closed to links
    assert not fake.log("umount")
    assert warnings(node) == []


def test_a_data_folder_of_another_cluster_is_refused(
    fake: FakeMachine, make_host: MakeNode
) -> None:
    (fake.store / "data").mkdir(parents=True)
    (fake.store / "data" / MARKER).write_text('{"cluster": "another"}')
    assert failure(make_host())["code"] == "DataVolumeForeign"


def test_a_data_folder_on_a_network_is_refused(
    make_host: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.machine.systemd.mount_of", lambda _: ("/var/lib", "nfs4"))
    found = failure(make_host())
    assert (found["code"], found["phase"]) == ("DataVolumeUnusable", "disks")


def test_a_follower_converges_to_ready(fake: FakeMachine, make_host: MakeNode) -> None:
    node = make_ready(claimed(fake, make_host))
    unit = next((fake.root / "units").glob("*shared.mount")).read_text()
    assert "What=127.0.0.1:/export\n" in unit
    assert "Type=nfs\nOptions=_netdev,nfsvers=4,hard,nosuid,nodev\n" in unit
    assert "After=network-online.target" in unit
    assert not (fake.root / "exports").exists()
    checks = {each["name"]: each["detail"] for each in node.report.document["checks"]}
    assert "exports" not in checks
    closed = "closed to other machines, as telemetry.allowedCidrs names none"
    assert checks["firewall"] == f"no container reaches a file server; telemetry is {closed}"


def test_who_listens_at_a_port_of_telemetry_is_told_until_he_ends(
    fake: FakeMachine, make_host: MakeNode
) -> None:
    site = {"kind": "hosts", "address": "127.0.0.1", "telemetry": {"allow": ["10.77.0.0/24"]}}
    fake.listens(3000)
    told = "port 3000 of another program is {}"
    closed = told.format("closed to other machines, as telemetry.allowedCidrs names none")
    node = make_ready(make_host())
    assert closed in node.report.document["warnings"]
    assert "ip saddr {" not in (fake.root / "table").read_text()
    node = make_ready(make_host(site=site))
    opened = told.format("open to 10.77.0.0/24 by telemetry.allowedCidrs")
    assert [each for each in node.report.document["warnings"] if "3000" in each] == [opened]
    assert "ip saddr { 10.77.0.0/24 } accept" in (fake.root / "table").read_text()
    fake.listens()
    Repairs(node).look()
    assert not [each for each in node.report.document["warnings"] if "3000" in each]


def test_a_follower_that_was_the_leader_lets_nobody_in_by_ufw_any_more(
    fake: FakeMachine, make_host: MakeNode
) -> None:
    ours = "allow from 10.77.0.11 to 127.0.0.1 port 2049,5432,6379 proto tcp"
    (fake.root / "ufw-rules").write_text(
        f"ufw allow 22/tcp\nufw {ours} comment 'graphistry-cluster'\n"
    )
    make_ready(claimed(fake, make_host))
    assert [each for each in fake.log("ufw") if "delete" in each] == [f"--force delete {ours}"]


def test_another_export_than_before_is_mounted(fake: FakeMachine, make_host: MakeNode) -> None:
    make_ready(claimed(fake, make_host))
    share = {**fake.host_document("follower")["sharedFolder"], "export": "/other"}
    make_ready(claimed(fake, make_host, sharedFolder=share))
    unit = next((fake.root / "units").glob("*shared.mount")).read_text()
    assert "What=127.0.0.1:/other\n" in unit


def test_an_address_that_is_not_the_hosts_is_told_at_once(make_host: MakeNode) -> None:
    node = make_host(site={"kind": "hosts", "address": "192.0.2.1"})
    assert failure(node)["code"] == "AddressMissing"


def test_a_second_converge_changes_nothing(fake: FakeMachine, make_host: MakeNode) -> None:
    node = make_ready(make_host())
    before = files(fake)
    make_ready(node)
    assert files(fake) == before


def files(fake: FakeMachine) -> dict[Path, tuple[bytes, int]]:
    """Everything that the agent has written but its reports."""
    found = [fake.root / "exports", fake.release / "docker-compose.override.yml"]
    for folder in (fake.home, fake.store, fake.root / "units", fake.release / "data"):
        found += [each for each in folder.rglob("*") if each.is_file()]
    return {
        each: (each.read_bytes(), each.stat().st_mode)
        for each in found
        if each.name != "report.json"
    }


class TestContainers:
    """PostgreSQL and Redis are containers that the program manages: every release is a follower's."""

    @pytest.fixture
    def leader(self, make_host: MakeNode) -> Node:
        return make_host(dataServices="containers", dataVolume=None)

    def test_the_document_is_what_the_program_writes(self, fake: FakeMachine) -> None:
        document = fake.host_document(dataServices="containers", dataVolume=None)
        jsonschema.validate(document, SPECIFICATION)

    def test_the_leaders_release_is_in_follower_mode(self, fake: FakeMachine, leader: Node) -> None:
        make_ready(leader)
        env = (fake.release / "data" / "config" / "cluster.env").read_text()
        assert "NODE_TYPE=follower" in env
        assert "POSTGRES_HOST=leader.internal" in env
        assert "ports" not in override(fake)
        assert override(fake).count("@leader.internal:6379/0") == 2
        assert not (fake.store / "data").exists()
        assert not (fake.root / "shared" / "postgresql_data").exists()

    def test_the_leader_makes_the_first_users_and_claims_the_folder(
        self, fake: FakeMachine, leader: Node
    ) -> None:
        make_ready(leader)
        first = ("up", "exec -T nexus bash")
        calls = [line for line in fake.log("graphistry") if line.startswith(first)]
        assert "caddy" not in calls[0]
        assert calls[1].startswith("exec")
        assert "create_superuser" in (fake.root / "shell.log").read_text()
        assert (fake.root / "shared" / MARKER).exists()

    def test_the_leader_waits_for_the_containers(
        self, leader: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise OSError("connection refused")

        monkeypatch.setattr("agent.data.endpoints.max_connections", refuse)
        found = failure(leader)
        assert (found["code"], found["phase"]) == ("DataServiceDown", "start")

    def test_containers_that_are_away_are_only_waited_for(
        self, fake: FakeMachine, leader: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise OSError("connection refused")

        make_ready(leader)
        before = [line for line in fake.log("graphistry") if line.startswith("up")]
        states = (fake.root / "states.json").read_text()
        with monkeypatch.context() as context:
            context.setattr("agent.data.endpoints.max_connections", refuse)
            (fake.root / "states.json").write_text('{"nexus": ["running", "unhealthy", 0]}')
            repairs = Repairs(leader)
            repairs.look()
            assert state(leader) == ("degraded", "DataServiceDown")
        assert [line for line in fake.log("graphistry") if line.startswith("up")] == before
        (fake.root / "states.json").write_text(states)
        repairs.look()
        assert state(leader) == ("ready", None)


class TestPath:
    """A shared folder that somebody else mounts."""

    @pytest.fixture
    def mounts(
        self, fake: FakeMachine, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[list[tuple[str, str]]]:
        """What the folder is on: the last element says. The host's own data are on its root."""
        found = [(str(fake.root), "nfs4")]

        def mount_of(path: object) -> tuple[str, str]:
            return ("/", "ext4") if str(path).startswith(str(fake.store)) else found[-1]

        monkeypatch.setattr("agent.machine.systemd.mount_of", mount_of)
        return found  # type: ignore[return-value]

    @pytest.fixture
    def share(self, fake: FakeMachine) -> dict[str, str]:
        return {"kind": "path", "path": str(fake.root / "shared")}

    def test_a_folder_on_a_mount_is_used_as_it_is(
        self, fake: FakeMachine, make_host: MakeNode, share: dict[str, str], mounts: object
    ) -> None:
        assert mounts
        make_ready(claimed(fake, make_host, sharedFolder=share))
        assert not list((fake.root / "units").glob("*.mount"))
        ordered = (fake.root / "units" / "docker.service.d" / "graphistry-cluster.conf").read_text()
        assert f"After={mount_unit(str(fake.root))}\n" in ordered

    def test_the_leader_makes_a_folder_that_its_mount_does_not_have(
        self, fake: FakeMachine, make_host: MakeNode, share: dict[str, str], mounts: object
    ) -> None:
        """Whether it was mounted before the agent looked, or while it waited."""
        assert mounts
        node = make_host("leader", sharedFolder={**share, "path": f"{share['path']}/ours"})
        make_ready(node)
        assert (fake.root / "shared" / "ours" / MARKER).exists()

    def test_a_folder_that_cannot_be_made_is_told(
        self, fake: FakeMachine, make_host: MakeNode, share: dict[str, str], mounts: object
    ) -> None:
        assert mounts
        (fake.root / "file").touch()
        node = make_host("leader", sharedFolder={**share, "path": f"{fake.root}/file/ours"})
        found = failure(node)
        assert found["code"] == "SharedFolderUnsafe"
        assert f"{fake.root}/file is a link, or another kind of file" in found["message"]

    def test_one_that_is_open_to_programs_of_other_nodes_roots_is_a_warning(
        self,
        fake: FakeMachine,
        make_host: MakeNode,
        share: dict[str, str],
        mounts: object,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        assert mounts
        found = Mount(str(fake.root), "nfs4", "0:50", "files:/", ("rw", "nodev"))
        monkeypatch.setattr("agent.machine.systemd.mount_at", lambda _: found)
        node = make_ready(claimed(fake, make_host, sharedFolder=share))
        assert warnings(node) == [
            f"{fake.root} is mounted without nosuid: root of another node may become root here"
        ]
        assert not fake.log("mount")

    def test_a_link_to_the_folder_is_refused_below_the_mount(
        self, fake: FakeMachine, make_host: MakeNode, share: dict[str, str], mounts: object
    ) -> None:
        assert mounts
        (fake.root / "theirs").mkdir()
        (fake.root / "ours").symlink_to("theirs")
        node = make_host("leader", sharedFolder={**share, "path": f"{fake.root}/ours"})
        assert failure(node)["code"] == "SharedFolderUnsafe"
        assert not list((fake.root / "theirs").iterdir())

    @pytest.mark.parametrize("mount", [("/", "ext4"), ("/mnt/nfs", "autofs")])
    def test_a_folder_on_no_mount_is_refused(
        self,
        fake: FakeMachine,
        make_host: MakeNode,
        share: dict[str, str],
        mounts: list[tuple[str, str]],
        mount: tuple[str, str],
    ) -> None:
        mounts.append(mount)
        found = failure(claimed(fake, make_host, sharedFolder=share))
        assert found["code"] == "SharedFolderUnmounted"
        assert fake.log("chattr") == []

    def test_a_lost_mount_is_waited_for(
        self,
        fake: FakeMachine,
        make_host: MakeNode,
        share: dict[str, str],
        mounts: list[tuple[str, str]],
    ) -> None:
        node = make_ready(claimed(fake, make_host, sharedFolder=share))
        mounts.append(("/", "ext4"))
        repairs = Repairs(node)
        repairs.look()
        assert state(node) == ("degraded", "SharedFolderUnmounted")
        assert node.report.document["repairs"] == []
        mounts.pop()
        repairs.look()
        assert state(node) == ("ready", None)


class TestWatch:
    """What a ready leader or follower notices, and mends."""

    def test_a_changed_export_is_made_anew(self, fake: FakeMachine, make_host: MakeNode) -> None:
        node = make_ready(make_host())
        before = (fake.root / "exports").read_text()
        (fake.root / "exports").write_text("/var *(rw)\n")
        repairs = Repairs(node)
        repairs.look()
        assert state(node) == ("degraded", "ExportsChanged")
        assert (fake.root / "exports").read_text() == before
        repairs.look()
        assert state(node) == ("ready", None)

    def test_a_client_that_the_server_forgot_is_noticed(
        self, fake: FakeMachine, make_host: MakeNode
    ) -> None:
        (fake.root / "etab").write_text(f"{fake.store}/shared\t10.77.0.11(rw,sync)\n")
        node = make_ready(make_host())
        (fake.root / "etab").write_text("/other\t10.77.0.11(rw,sync)\n")
        Repairs(node).look()
        assert state(node) == ("degraded", "ExportsChanged")
        assert "10.77.0.11" in node.report.document["failure"]["message"]

    def test_a_server_that_has_ended_is_started(
        self, fake: FakeMachine, make_host: MakeNode
    ) -> None:
        node = make_ready(make_host())
        (fake.root / "nfs-server").unlink()
        repairs = Repairs(node)
        repairs.look()
        assert state(node) == ("degraded", "NfsServerUnavailable")
        repairs.look()
        assert state(node) == ("ready", None)

    @pytest.mark.parametrize("change", ["lost", "changed"])
    def test_a_lost_firewall_is_made_anew(
        self, fake: FakeMachine, make_host: MakeNode, change: str
    ) -> None:
        node = make_ready(make_host())
        table = fake.root / "table"
        before = table.read_text()
        table.unlink() if change == "lost" else table.write_text(before.replace("drop", "accept"))
        repairs = Repairs(node)
        repairs.look()
        assert state(node) == ("degraded", "FirewallChanged")
        assert table.read_text() == before
        repairs.look()
        assert state(node) == ("ready", None)

    def test_a_bridge_that_comes_later_is_named_and_no_fault(
        self, make_host: MakeNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("agent.graphistry.telemetry.INTERFACES", tmp_path)
        node = make_ready(make_host())
        (tmp_path / "br-own").touch()
        repairs = Repairs(node)
        repairs.look()
        assert state(node) == ("ready", None)
        assert '"br-own"' in firewall.rules(node.specification)
        assert firewall.rules(node.specification) == firewall._file().read_text()

    def test_a_firewall_that_cannot_be_made_is_tried_for_ever(
        self, fake: FakeMachine, make_host: MakeNode
    ) -> None:
        node = make_ready(make_host())
        (fake.root / "nft-fails").touch()
        repairs = beyond_all_tries(node)
        assert state(node) == ("degraded", "FirewallChanged")
        (fake.root / "nft-fails").unlink()
        (fake.root / "table").unlink()
        repairs.look()
        repairs.look()
        assert state(node) == ("ready", None)

    def test_a_mount_whose_server_is_away_is_left_to_heal(
        self, fake: FakeMachine, make_host: MakeNode, server_answers: list[bool]
    ) -> None:
        node = make_ready(claimed(fake, make_host))
        fake.probe_fails(errno.EIO)
        server_answers.append(False)
        repairs = Repairs(node)
        repairs.look()
        assert state(node) == ("degraded", "SharedFolderUnmounted")
        assert fake.mounted(f"{fake.root}/shared")
        assert not [line for line in fake.log("graphistry") if line.startswith("restart")]
        server_answers.append(True)
        fake.probe_fails(None)
        repairs.look()
        assert state(node) == ("ready", None)

    def test_a_mount_that_stays_dead_while_its_server_answers_is_made_anew(
        self, fake: FakeMachine, make_host: MakeNode
    ) -> None:
        node = make_ready(claimed(fake, make_host))
        (fake.root / "mounts").write_text("")
        repairs = Repairs(node)
        repairs.look()
        assert fake.log("graphistry")[-1] == "restart nexus forge-etl-python"
        repairs.look()
        assert state(node) == ("ready", None)

    def test_a_host_beyond_repair_stays_degraded_and_says_so(
        self, fake: FakeMachine, make_host: MakeNode
    ) -> None:
        node = make_ready(claimed(fake, make_host))
        lose_gpu(fake)
        beyond_all_tries(node)
        assert state(node) == ("degraded", "GpuUnavailable")
        assert "stays degraded" in node.report.document["repairs"][-1]["outcome"]


class TestGuests:
    """Followers of other stacks."""

    def test_they_may_mount_the_folder_and_pass_the_firewall(
        self, fake: FakeMachine, make_host: MakeNode
    ) -> None:
        node = make_host()
        guests.admit("acme/graphistry/gpu-team", '["10.77.0.21"]')
        make_ready(node)
        assert "10.77.0.11(rw" in (fake.root / "exports").read_text()
        assert "10.77.0.21(rw" in (fake.root / "exports").read_text()
        assert (
            "elements = { 10.77.0.11, 10.77.0.21, 127.0.0.1 }" in (fake.root / "table").read_text()
        )

    def test_the_agent_hears_of_them(self, make_host: MakeNode) -> None:
        node = make_host()
        assert node.site.read_specification() is not None
        assert node.site.read_specification() is None
        guests.admit("other", '["10.77.0.21"]')
        assert node.site.read_specification() is not None
        assert node.site.read_specification() is None
        guests.admit("other", "[]")
        assert node.site.read_specification() is not None


def test_no_secret_is_in_the_report_the_log_or_a_command(
    fake: FakeMachine, make_host: MakeNode, capsys: pytest.CaptureFixture[str]
) -> None:
    node = make_ready(make_host())
    told = json.dumps(node.report.document) + capsys.readouterr().out
    for name in ("graphistry", "systemctl", "docker", "nft", "ufw", "exportfs"):
        told += "\n".join(fake.log(name))
    assert [name for name, value in node.secret.items() if value in told] == []


KEY = "A" * 43 + "="
TUNNEL = {"network": "198.18.0.0/15", "port": 51820, "leader": "10.77.0.10"}


def with_tunnel(fake: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """WireGuard's tools, which show the peers that the file `peers` has; the specification's site with a tunnel."""
    fake.command("wg-quick", "")
    fake.command("ip", f'echo "$@" >> "{fake.root}/ip.log"')
    fake.command(
        "wg",
        f"""case "$1" in
  genkey) echo c4nary; exit 0 ;;
  pubkey) echo public; exit 0 ;;
esac
[ "$3" = dump ] && {{ echo own; cat "{fake.root}/peers"; }}
exit 0""",
    )
    (fake.root / "peers").write_text("")
    monkeypatch.setattr("agent.machine.ports.is_own", lambda _: True)
    monkeypatch.setattr("agent.phases.tunnel._source", lambda _: "198.18.0.1")
    return {"kind": "hosts", "address": "127.0.0.1", "tunnel": TUNNEL}


def shows(fake: FakeMachine, inside: str, age: float | None) -> None:
    """The interface has a peer there, of whom it heard so many seconds ago."""
    heard = 0 if age is None else int(time.time() - age)
    line = [KEY, "(none)", "10.77.0.10:51820", f"{inside}/32", str(heard), "1", "2", "25"]
    (fake.root / "peers").write_text("\t".join(line) + "\n")


def test_a_leader_with_a_tunnel_publishes_and_exports_inside_it(
    fake: FakeMachine, make_host: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = with_tunnel(fake, monkeypatch)
    tunnel.meet("10.77.0.11", KEY)
    tunnel.meet("10.77.0.99", KEY)  # of a follower that left
    shows(fake, "198.19.0.11", 3)
    node = make_ready(make_host(site=site))
    assert '"198.18.0.1:5432:5432"' in override(fake)  # 127.0.0.1's last 17 bits
    assert "198.19.0.11(rw" in (fake.root / "exports").read_text()
    file = fake.home / "tunnel" / "graphistry.conf"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text().count("[Peer]") == 1
    assert "AllowedIPs = 198.19.0.11/32" in file.read_text()
    unit = (fake.root / "units" / tunnel.UNIT_NAME).read_text()
    assert "Before=remote-fs-pre.target docker.service" in unit
    table = (fake.root / "table").read_text()
    assert 'iifname "graphistry" ip saddr @allowed accept' in table
    assert "udp dport 51820 ip saddr != { 10.77.0.11, 127.0.0.1 } drop" in table
    report = node.report.document
    jsonschema.validate(report, REPORT)
    detail = next(each["detail"] for each in report["checks"] if each["name"] == "tunnel")
    assert detail == "1 of 1 followers by WireGuard"
    assert "c4nary" not in (fake.home / "report.json").read_text()


def test_ufw_lets_the_tunnel_in_and_the_data_services_only_inside(
    fake: FakeMachine, make_host: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = with_tunnel(fake, monkeypatch)
    (fake.root / "ufw-status").write_text("Status: active\n")
    tunnel.meet("10.77.0.11", KEY)
    shows(fake, "198.19.0.11", 3)
    make_ready(make_host(site=site))
    added = [line for line in fake.log("ufw") if line.startswith("allow")]
    assert added == [
        "allow from 198.19.0.11 to 198.18.0.1 port 2049,5432,6379 proto tcp comment graphistry-cluster",
        "allow from 10.77.0.11 to 127.0.0.1 port 51820 proto udp comment graphistry-cluster",
    ]


def test_a_follower_without_the_leaders_key_says_what_brings_it(
    fake: FakeMachine, make_host: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = with_tunnel(fake, monkeypatch)
    node = claimed(fake, make_host, site=site)
    assert not converge(node, unchanged)
    assert failure(node)["code"] == "TunnelNotExchanged"
    assert "./cluster up" in failure(node)["hint"]


@pytest.mark.parametrize("age", [None, 500.0])
def test_a_leader_that_is_silent_is_told_before_what_it_takes_along(
    fake: FakeMachine, make_host: MakeNode, monkeypatch: pytest.MonkeyPatch, age: float | None
) -> None:
    site = with_tunnel(fake, monkeypatch)
    tunnel.meet("10.77.0.10", KEY)
    shows(fake, "198.19.0.10", age)
    node = claimed(fake, make_host, site=site)
    assert not converge(node, unchanged)
    assert failure(node)["code"] == "TunnelDown"
    assert "UDP 51820" in failure(node)["hint"]
    shows(fake, "198.19.0.10", 3)
    make_ready(node)
    shows(fake, "198.19.0.10", age)
    Repairs(node).look()
    assert state(node)[0] == "degraded"
    assert failure(node)["code"] == "TunnelDown"


def test_an_interface_with_other_peers_is_connected_anew(
    fake: FakeMachine, make_host: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = with_tunnel(fake, monkeypatch)
    tunnel.meet("10.77.0.10", KEY)
    shows(fake, "198.19.0.10", 3)
    node = make_ready(claimed(fake, make_host, site=site))
    (fake.root / "peers").write_text("")
    before = len(fake.log("systemctl"))
    Repairs(node).look()
    assert failure(node)["code"] == "TunnelChanged"
    assert f"restart {tunnel.UNIT_NAME}" in fake.log("systemctl")[before:]


def test_a_node_that_needs_no_tunnel_any_more_has_none(
    fake: FakeMachine, make_host: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = with_tunnel(fake, monkeypatch)
    make_ready(make_host(site=site))
    node = make_ready(make_host())
    assert not (fake.root / "units" / tunnel.UNIT_NAME).exists()
    assert not (fake.home / "tunnel" / "graphistry.conf").exists()
    assert "link delete dev graphistry" in fake.log("ip")
    assert "route delete unreachable 198.18.0.0/15 metric 9999" in fake.log("ip")
    assert '"127.0.0.1:5432:5432"' in override(fake)
    assert "tunnel" not in {each["name"] for each in node.report.document["checks"]}


def test_the_agent_hears_of_keys_that_are_brought(
    fake: FakeMachine, make_host: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = with_tunnel(fake, monkeypatch)
    node = make_host(site=site)
    assert node.site.read_specification()
    assert node.site.read_specification() is None
    tunnel.meet("10.77.0.11", KEY)
    assert node.site.read_specification()
    tunnel.public_key()
    assert node.site.read_specification()
    assert node.site.read_specification() is None
    # Another key at once, as when somebody removes the file and runs `./cluster up`.
    (fake.store / "tunnel" / "private.key").unlink()
    tunnel.public_key()
    assert node.site.read_specification()
