"""What the real PostgreSQL and Redis answer when they say no, and the codes that come of it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.data import endpoints, redis_users
from agent.data.postgres_client import PostgresError, max_connections
from agent.data.redis_client import Redis, RedisError
from agent.failures import HINTS, Failure
from agent.node import Node
from agent.phases.start import _wait_for_data_services
from agent.specification import Endpoint
from tests.agent.fakes import FakeMachine

from .test_clients import serve

MakeNode = Callable[..., Node]
PASSWORD = "the-clusters-own"
BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parts[-2]))
needs_postgres = pytest.mark.skipif(
    not BINARIES, reason="there is no PostgreSQL: apt install postgresql"
)
REFUSED = (
    "CONFIG SET dir /tmp",
    "MODULE LIST",
    "REPLICAOF 10.0.0.1 1",
    "SLAVEOF 10.0.0.1 1",
    "FLUSHALL",
    "ACL SETUSER me on",
    "SHUTDOWN NOSAVE",
    "MONITOR",
    "SAVE",
    "CLIENT KILL ID 1",
    "SCRIPT DEBUG SYNC",
)
needs_redis = pytest.mark.skipif(
    not shutil.which("redis-server"), reason="there is no Redis: apt install redis-server"
)


def until_open(port: int) -> None:
    end = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.02)
        else:
            return


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running(words: Sequence[str | Path], port: int, **how: Any) -> Iterator[None]:
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(list(map(str, words)), **quiet, **how)
    try:
        until_open(port)
        yield
    finally:
        # A Redis that cannot save does not end when asked to.
        process.send_signal(signal.SIGKILL if words[0] == "redis-server" else signal.SIGTERM)
        process.wait(timeout=20)


@pytest.fixture(scope="module")
def postgres() -> Iterator[int]:
    """The port of a PostgreSQL with a release's role and database, and 5 connections, 3 of them for superusers."""
    # Not below pytest's own folder, which is root's: PostgreSQL does not run as root.
    with tempfile.TemporaryDirectory(prefix="postgres-") as place:
        yield from _postgres(Path(place))


def _postgres(folder: Path) -> Iterator[int]:
    data, port = folder / "data", free_port()
    folder.chmod(0o777)
    how: dict[str, Any] = {"user": "nobody"} if os.geteuid() == 0 else {}
    own = BINARIES[-1]
    words = [own / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-N"]
    subprocess.run(list(map(str, words)), check=True, capture_output=True, cwd=folder, **how)
    rules = (
        "local all all trust",
        "host all stranger 127.0.0.1/32 reject",
        "host all all 127.0.0.1/32 scram-sha-256",
    )
    (data / "pg_hba.conf").write_text("\n".join(rules) + "\n")
    settings = {
        "fsync": "off",
        "max_connections": "5",
        "max_wal_senders": "0",
        "unix_socket_directories": str(folder),
        "port": str(port),
        "listen_addresses": "127.0.0.1",
    }
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    with running([own / "postgres", "-D", data, *options], port, cwd=folder, **how):
        made = f"create role graphistry login password '{PASSWORD}'"
        socket_of = [own / "psql", "-h", folder, "-p", str(port), "-U", "postgres"]
        for query in (made, "create role stranger login", "create database graphistry"):
            words = [*socket_of, "-qc", query]
            end = time.monotonic() + 20
            while subprocess.run(list(map(str, words)), capture_output=True).returncode:
                assert time.monotonic() < end
                time.sleep(0.1)
        yield port


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Starts a Redis with the cluster's password and other settings; its port."""
    with ExitStack() as stack:

        def start(*settings: str) -> int:
            port = free_port()
            words = [
                "redis-server",
                "--port",
                str(port),
                "--bind",
                "127.0.0.1",
                "--dir",
                str(tmp_path),
            ]
            words += ["--requirepass", PASSWORD, "--save", "", *settings]
            stack.enter_context(running(words, port))
            return port

        yield start


@needs_redis
def test_our_settings_behind_a_redis_own_flags_have_the_last_word(
    redis: Callable[..., int], tmp_path: Path
) -> None:
    """Its own say another password; what they say beside it stays."""
    secret = {"adminPassword": "the administrator's", "redisPassword": "the cluster's"}
    ours = tmp_path / "redis.conf"
    ours.write_text(redis_users.configuration(secret))
    port = redis("--maxmemory", "100mb", "--include", str(ours))
    with Redis("127.0.0.1", port, "the cluster's") as client:
        assert client.call("PING") == "PONG"
        with pytest.raises(RedisError, match="NOPERM"):
            client.call("CONFIG", "GET", "maxmemory")
    with Redis("127.0.0.1", port, "the administrator's", redis_users.ADMINISTRATOR) as client:
        assert client.call("CONFIG", "GET", "maxmemory") == ["maxmemory", "104857600"]
    with pytest.raises(RedisError, match="WRONGPASS"):
        Redis("127.0.0.1", port, PASSWORD)


@pytest.fixture
def node(make_node: MakeNode, monkeypatch: pytest.MonkeyPatch) -> Node:
    """A follower that asks whatever listens on its specification's ports."""
    found = make_node("follower")
    monkeypatch.setattr(endpoints, "max_connections", max_connections)
    monkeypatch.setattr(endpoints, "Redis", Redis)
    monkeypatch.setattr(redis_users, "Redis", Redis)
    found.secret = {"postgresPassword": PASSWORD, "redisPassword": PASSWORD}
    return found


def at(node: Node, *, postgres: int = 1, redis: int = 1) -> Node:
    """The node, asking these ports of this computer."""
    for name, port in (("postgres", postgres), ("redis", redis)):
        object.__setattr__(node.specification, name, Endpoint("127.0.0.1", port))
    return node


def refusal(ask: Callable[[Node], str], node: Node) -> Failure:
    with pytest.raises(Failure) as raised:
        ask(node)
    assert PASSWORD not in raised.value.message
    return raised.value


@needs_postgres
class TestPostgres:
    def test_it_answers_and_says_how_many_connections_it_has(
        self, node: Node, postgres: int
    ) -> None:
        assert "answers" in endpoints.ask_postgres(at(node, postgres=postgres))
        assert node.max_connections == 5

    def test_too_many_connections(self, node: Node, postgres: int) -> None:
        endpoints.ask_postgres(at(node, postgres=postgres))
        with ExitStack() as stack:
            for _ in range(2):
                hold(stack, postgres)
            found = refusal(endpoints.ask_postgres, node)
        assert found.code == "PostgresConnectionsExhausted"
        assert "53300 remaining connection slots are reserved" in found.message
        assert "9 workers (4 forge, 4 streamgl, 1 dask)" in found.message
        assert "max_connections, 5 when this node last asked" in found.message

    @pytest.mark.parametrize(
        ("words", "sqlstate"),
        [
            ({"password": "wrong"}, "28P01"),
            ({"user": "stranger"}, "28000"),
            ({"database": "nowhere"}, "3D000"),
        ],
    )
    def test_it_lets_nobody_in(
        self,
        node: Node,
        postgres: int,
        monkeypatch: pytest.MonkeyPatch,
        words: dict[str, str],
        sqlstate: str,
    ) -> None:
        def asked(host: str, port: int, password: str) -> int:
            return max_connections(host, port, **{"password": password, **words})

        monkeypatch.setattr(endpoints, "max_connections", asked)
        found = refusal(endpoints.ask_postgres, at(node, postgres=postgres))
        assert found.code == "PostgresLoginRefused"
        assert f"answers: {sqlstate} " in found.message


def hold(stack: ExitStack, port: int) -> None:
    """Keep one connection of the release's role to its database."""
    words = [BINARIES[-1] / "psql", "-h", "127.0.0.1", "-p", str(port), "-U", "graphistry"]
    words += ["-qAt", "graphistry"]
    process = subprocess.Popen(
        list(map(str, words)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PGPASSWORD": PASSWORD},
        text=True,
    )
    stack.callback(process.wait, timeout=10)
    assert process.stdin
    assert process.stdout
    stack.callback(process.stdin.close)
    process.stdin.write("select 'in';\n")
    process.stdin.flush()
    assert process.stdout.readline() == "in\n"


@pytest.mark.parametrize(
    ("sqlstate", "words", "code"),
    [
        # src/backend: postmaster.c, tcop/backend_startup.c, tcop/postgres.c, storage/smgr/md.c
        ("57P03", "the database system is starting up", "PostgresStarting"),
        ("57P03", "the database system is in recovery mode", "PostgresStarting"),
        (
            "57P01",
            "terminating connection due to administrator command",
            "PostgresStarting",
        ),
        (
            "53100",
            'could not extend file "base/1/2": No space left on device',
            "PostgresDiskFull",
        ),
        ("53200", "out of memory", "PostgresRefused"),
    ],
)
def test_what_postgres_says_before_it_lets_in(
    node: Node, sqlstate: str, words: str, code: str
) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(1000)
        body = b"".join(
            field.encode() + b"\0" for field in ("SFATAL", "VFATAL", f"C{sqlstate}", f"M{words}")
        )
        length = (len(body) + 5).to_bytes(4, "big")
        connection.sendall(b"E" + length + body + b"\0")

    found = refusal(endpoints.ask_postgres, at(node, postgres=serve(answer)))
    assert (found.code, found.hint) == (code, HINTS[code])
    assert f"answers: {sqlstate} {words}" in found.message


def test_what_is_no_postgres_is_said(node: Node) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    found = refusal(endpoints.ask_postgres, at(node, postgres=serve(answer)))
    assert found.code == "PostgresRefused"
    assert "not PostgreSQL's protocol" in found.message


@needs_redis
class TestRedis:
    def test_it_answers(self, node: Node, redis: Callable[..., int]) -> None:
        assert "answers" in endpoints.ask_redis(at(node, redis=redis()))

    @pytest.mark.parametrize(
        ("settings", "code", "words"),
        [
            (["--maxclients", "1"], "RedisConnectionsExhausted", "ERR max number of clients"),
            (["--replicaof", "127.0.0.1", "1"], "RedisReadOnly", "READONLY"),
            (["--maxmemory", "1"], "RedisMemoryFull", "OOM"),
            (["--requirepass", "another"], "RedisLoginRefused", "WRONGPASS"),
            (["--requirepass", ""], "RedisLoginRefused", "ERR AUTH"),
        ],
    )
    def test_it_says_no(
        self,
        node: Node,
        redis: Callable[..., int],
        settings: list[str],
        code: str,
        words: str,
    ) -> None:
        port = redis(*settings)
        with ExitStack() as stack:
            if "--maxclients" in settings:
                stack.enter_context(signed_in(port))
            found = refusal(endpoints.ask_redis, at(node, redis=port))
        assert found.code == code
        assert f"answers: {words}" in found.message

    def test_a_running_one_gets_its_users_without_a_restart(
        self, node: Node, redis: Callable[..., int]
    ) -> None:
        port = redis()
        node.secret["adminPassword"] = "administration"
        with Redis("127.0.0.1", port, PASSWORD) as held:
            held.call("SET", "kept", "1")
            assert held.call("CONFIG", "GET", "dir")
            for _ in ("first", "again"):
                redis_users.restrict(at(node, redis=port))
            for refused in REFUSED:
                with pytest.raises(RedisError, match="NOPERM"):
                    held.call(*refused.split())
            assert held.call("GET", "kept") == "1"
        assert "answers" in endpoints.ask_redis(at(node, redis=port))
        with Redis("127.0.0.1", port, "administration", redis_users.ADMINISTRATOR) as redis_:
            assert redis_.call("CONFIG", "GET", "dir")

    def test_the_file_says_the_same(
        self, node: Node, redis: Callable[..., int], tmp_path: Path
    ) -> None:
        node.secret["adminPassword"] = "administration"
        lines = redis_users.configuration(node.secret).splitlines()
        users = [
            word
            for line in lines
            if line.startswith("user")
            for word in ("--user", *line.split()[1:])
        ]
        port = redis("--requirepass", "", *users)
        with Redis("127.0.0.1", port, PASSWORD) as asked:
            for refused in REFUSED:
                with pytest.raises(RedisError, match="NOPERM"):
                    asked.call(*refused.split())
            for used in (
                "INFO",
                "FLUSHDB",
                "KEYS *",
                "CLIENT LIST",
                "CLIENT SETNAME one",
                "PUBLISH a b",
            ):
                asked.call(*used.split())
        with pytest.raises(RedisError, match="NOAUTH"):
            Redis("127.0.0.1", port, None).call("PING")

    def test_it_lets_in_and_takes_nothing(self, node: Node, redis: Callable[..., int]) -> None:
        port = redis()
        with Redis("127.0.0.1", port, PASSWORD) as asked:
            asked.call("ACL", "SETUSER", "default", "-set")
        found = refusal(endpoints.ask_redis, at(node, redis=port))
        assert found.code == "RedisLoginRefused"
        assert "NOPERM" in found.message

    def test_it_cannot_save(self, node: Node, redis: Callable[..., int], tmp_path: Path) -> None:
        port = redis("--save", "1 1", "--dbfilename", "missing.rdb")
        with Redis("127.0.0.1", port, PASSWORD) as asked:
            shutil.rmtree(tmp_path)
            asked.call("SET", "a", "1")
            end = time.monotonic() + 20
            while "rdb_last_bgsave_status:err" not in str(asked.call("INFO", "persistence")):
                assert time.monotonic() < end
                time.sleep(0.1)
        found = refusal(endpoints.ask_redis, at(node, redis=port))
        assert found.code == "RedisCannotSave"
        assert "MISCONF" in found.message


def signed_in(port: int) -> Redis:
    """A connection to a Redis that has one only, once it has forgotten the one that found it open."""
    end = time.monotonic() + 20
    while True:
        try:
            return Redis("127.0.0.1", port, PASSWORD)
        except RedisError:
            assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        # shared objects of src/server.c
        ("LOADING Redis is loading the dataset in memory", "RedisStarting"),
        (
            "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            "RedisReadOnly",
        ),
        (
            "NOPERM this user has no permissions to run the 'set' command",
            "RedisLoginRefused",
        ),
        ("NOAUTH Authentication required.", "RedisLoginRefused"),
        (
            "DENIED Redis is running in protected mode because",
            "RedisLoginRefused",
        ),
        ("BUSY Redis is busy running a script.", "RedisRefused"),
    ],
)
def test_what_redis_says(node: Node, words: str, code: str) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(f"-{words}\r\n".encode())

    found = refusal(endpoints.ask_redis, at(node, redis=serve(answer)))
    assert found.code == code
    assert found.message.endswith(f"answers: {words}")


@pytest.mark.parametrize("ask", [endpoints.ask_postgres, endpoints.ask_redis])
class TestNobody:
    """Who says nothing is not one who refuses."""

    @pytest.mark.parametrize(
        ("role", "code"), [("follower", "LeaderUnreachable"), ("leader", "DataServiceDown")]
    )
    def test_nobody_listens(
        self, node: Node, ask: Callable[[Node], str], role: str, code: str
    ) -> None:
        object.__setattr__(node.specification, "role", role)
        port = free_port()
        found = refusal(ask, at(node, postgres=port, redis=port))
        assert found.code == code
        assert f"127.0.0.1:{port} does not answer" in found.message
        assert ("bring the leader up" in found.hint) == (role == "follower")

    def test_dockers_proxy_closes_for_a_container_that_does_not_listen(
        self, node: Node, ask: Callable[[Node], str]
    ) -> None:
        port = serve(lambda connection: connection.close())
        assert refusal(ask, at(node, postgres=port, redis=port)).code == "LeaderUnreachable"

    def test_a_name_that_is_not_known(self, node: Node, ask: Callable[[Node], str]) -> None:
        for name in ("postgres", "redis"):
            where = Endpoint("leader.invalid", 1)
            object.__setattr__(node.specification, name, where)
        found = refusal(ask, node)
        assert found.code == "LeaderUnreachable"
        assert "DNS" in found.hint


class TestWhatFollows:
    """A repair is only for what it can help."""

    def test_a_follower_does_not_wait_for_a_password_that_is_wrong(
        self, fake: FakeMachine, node: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("agent.limits.PATIENCE", 60)
        monkeypatch.setattr(endpoints, "max_connections", refuse("28P01"))
        began = time.monotonic()
        with pytest.raises(Failure, match="28P01"):
            _wait_for_data_services(node)
        assert time.monotonic() - began < 5

    def test_a_follower_waits_for_one_that_starts(
        self, fake: FakeMachine, node: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answers = [refuse("57P03"), refuse("57P03"), lambda *_: 200]
        monkeypatch.setattr("agent.limits.PATIENCE", 60)
        monkeypatch.setattr(endpoints, "max_connections", lambda *_: answers.pop(0)())
        _wait_for_data_services(node)
        assert answers == []


def refuse(sqlstate: str) -> Callable[..., int]:
    def answer(*_: object) -> int:
        raise PostgresError("no", sqlstate)

    return answer
