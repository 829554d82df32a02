"""The check of the release: whether nodes would find it, asked before any of them is paid for."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
from botocore.exceptions import ClientError

from model.problems import Problem
from model.settings.sections import Release
from preflight.archive_at import Archive, UnavailableError, on_the_web
from preflight.release import release
from preflight.situation import Remark, UnansweredError
from tests.preflight.situations import situation

ACCOUNT, OTHER = "123456789012", "999999999999"
SOURCE = "s3://vendor/graphistry-2.50.1-12.tar.gz"
ARCHIVE = {"version": "2.50.1", "cuda": "12", "source": SOURCE, "sha256": "a" * 64}
RAW: dict[str, Any] = {
    "gpuProfiles": {
        "t4": {"instanceTypes": ["g4dn.2xlarge"], "rootVolumeGib": 100},
        "big": {"instanceTypes": ["g6.12xlarge"], "rootVolumeGib": 500},
        "nobodys": {"instanceTypes": ["g5.xlarge"], "rootVolumeGib": 101},
    },
    "leader": {"profile": "big"},
    "followers": {"one": {"profile": "t4"}},
    "release": ARCHIVE,
}
JOINED = {
    "gpuProfiles": RAW["gpuProfiles"],
    "leaderStack": "organization/graphistry-cluster/main",
    "followers": RAW["followers"],
}
KEY = "arn:aws:kms:us-east-1:{}:key/0000"


class Aws:
    """S3 with one archive, and who asks; its owner is *owner*."""

    def __init__(self, *, status: int = 200, owner: str = ACCOUNT, **found: Any) -> None:
        self.status, self.owner = status, owner
        self.manager = found.pop("manager", "CUSTOMER")
        self.found = {"ContentLength": 9 * 2**30, "Metadata": {}, **found}
        self.calls: list[str] = []

    def head_object(self, **asked: str) -> Any:
        self.calls.append("head_object")
        assert f"s3://{asked['Bucket']}/{asked['Key']}" == SOURCE
        if self.status != 200:
            raise refusal(self.status)
        if asked.get("ExpectedBucketOwner") not in (None, self.owner):
            raise refusal(403)
        return self.found

    def get_caller_identity(self) -> Any:
        self.calls.append("get_caller_identity")
        return {"Account": ACCOUNT}

    def describe_key(self, **asked: str) -> Any:
        self.calls.append("describe_key")
        if isinstance(self.manager, ClientError):
            raise self.manager
        return {"KeyMetadata": {"KeyManager": self.manager, "Arn": asked["KeyId"]}}


def refusal(status: int) -> ClientError:
    error = {"Code": str(status), "Message": "as HEAD says it"}
    metadata: Any = {"HTTPStatusCode": status}
    return ClientError({"Error": error, "ResponseMetadata": metadata}, "HeadObject")


def found(aws: Aws | None = None, raw: dict[str, Any] = RAW, **more: Any) -> tuple[Any, ...]:
    return release(situation(raw, client=aws or Aws(), **more))


def one_problem(*arguments: Any, **named: Any) -> Problem:
    (problem,) = [each for each in found(*arguments, **named) if isinstance(each, Problem)]
    return problem


def one_remark(*arguments: Any, **named: Any) -> Remark:
    (remark,) = [each for each in found(*arguments, **named) if isinstance(each, Remark)]
    return remark


OWN = {"id": "ami-0123456789abcdef0"}
LOCK = {"lock": {"us-east-1": OWN}}
ELSEWHERE = {"lock": {"eu-west-1": OWN}}
MINE = {"ssmParameter": "/mine/newest"}
DECLARED = {"release": "preinstalled"}


@pytest.mark.parametrize(
    ("image", "has_release"),
    [
        ({}, False),
        (DECLARED, False),  # nothing that AWS publishes has Graphistry in it, whatever is said
        (OWN, False),
        ({**OWN, **DECLARED}, True),
        (LOCK, False),
        ({**LOCK, **DECLARED}, True),
        ({**ELSEWHERE, **DECLARED}, False),
        (MINE, False),
        ({**MINE, **DECLARED}, True),
        ({"marketplace": True}, True),
        ({"marketplace": True, **LOCK}, True),
    ],
)
def test_preinstalled_needs_an_image_with_graphistry(
    image: dict[str, Any], *, has_release: bool
) -> None:
    raw = {**RAW, "release": {"version": "2.50.1", "cuda": "12"}, "image": image}
    if has_release:
        assert found(raw=raw) == ()
        return
    problem = one_problem(raw=raw)
    assert problem.path == "release.source"
    assert [
        line.strip()[2:].partition(":")[0].strip("`") for line in problem.hint.splitlines()[1:]
    ] == [
        "./cluster publish prod FILE",
        "image.marketplace",
        "image.release",
    ]


def test_a_rehearsal_is_told_how_to_get_an_archive() -> None:
    raw = {**RAW, "release": {"version": "2.50.1", "cuda": "12"}}
    assert "./cluster stand-in prod FILE" in one_problem(raw=raw, is_rehearsal=True).hint


def test_followers_of_another_stack_need_the_release_of_its_leader() -> None:
    preinstalled = Release(version="2.50.1", cuda="12")
    problem = one_problem(raw=JOINED, release=preinstalled)
    assert "in the stack of the leader" in problem.got
    assert "./cluster publish main FILE`, then `./cluster up main`" in problem.hint
    marketplace = {**JOINED, "image": {"marketplace": True}}
    assert found(raw=marketplace, release=preinstalled) == ()
    assert found(raw=JOINED, release=Release.model_validate(ARCHIVE)) == ()
    with pytest.raises(UnansweredError, match="not deployed"):
        found(raw=JOINED)


def test_an_archive_that_is_there_passes_in_three_calls() -> None:
    aws = Aws()
    assert found(aws) == ()
    assert sorted(aws.calls) == ["get_caller_identity", "head_object", "head_object"]


@pytest.mark.parametrize(
    ("status", "words"), [(404, "there is no such object"), (403, "S3 lets you not read it")]
)
def test_an_archive_that_is_not_there_or_not_readable_is_refused(status: int, words: str) -> None:
    problem = one_problem(Aws(status=status))
    assert f"{SOURCE}: {words}" in problem.got
    assert "./cluster publish prod FILE" in problem.hint


def test_what_may_be_another_accounts_comes_with_the_policy_for_its_owner() -> None:
    policy = json.loads(one_remark(Aws(status=403)).document)
    assert policy["Principal"] == {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}


@pytest.mark.parametrize(
    ("state", "readable"),
    [
        ({"StorageClass": "GLACIER"}, False),
        ({"StorageClass": "INTELLIGENT_TIERING", "ArchiveStatus": "ARCHIVE_ACCESS"}, False),
        ({"StorageClass": "DEEP_ARCHIVE", "Restore": 'ongoing-request="true"'}, False),
        ({"StorageClass": "GLACIER", "Restore": 'ongoing-request="false", expiry-date="x"'}, True),
        ({"StorageClass": "STANDARD_IA"}, True),
    ],
)
def test_an_archived_archive_is_not_readable(state: dict[str, Any], *, readable: bool) -> None:
    if readable:
        assert found(Aws(**state)) == ()
    else:
        assert "S3 has archived it" in one_problem(Aws(**state)).got


def test_an_outage_of_s3_is_no_problem_of_the_archive() -> None:
    with pytest.raises(ClientError):
        found(Aws(status=503))


def test_the_owner_of_a_foreign_bucket_is_told_what_to_permit() -> None:
    remark = one_remark(Aws(owner=OTHER))
    policy = json.loads(remark.document)
    assert policy["Action"] == "s3:GetObject"
    assert policy["Resource"] == "arn:aws:s3:::vendor/graphistry-2.50.1-12.tar.gz"
    roles = policy["Condition"]["ArnLike"]["aws:PrincipalArn"]
    assert roles == f"arn:aws:iam::{ACCOUNT}:role/graphistry-cluster/prod/*"
    joined = Release.model_validate(ARCHIVE)
    policy = json.loads(one_remark(Aws(owner=OTHER), raw=JOINED, release=joined).document)
    assert policy["Condition"]["ArnLike"]["aws:PrincipalArn"].endswith("graphistry-cluster/main/*")


def test_a_key_of_ones_own_must_let_the_nodes_decrypt() -> None:
    policy = json.loads(one_remark(Aws(SSEKMSKeyId=KEY.format(ACCOUNT))).document)
    assert policy["Action"] == "kms:Decrypt"
    assert policy["Condition"]["StringEquals"] == {
        "kms:CallerAccount": ACCOUNT,
        "kms:ViaService": "s3.us-east-1.amazonaws.com",
    }
    assert found(Aws(SSEKMSKeyId=KEY.format(ACCOUNT), manager="AWS")) == ()
    assert one_remark(Aws(SSEKMSKeyId=KEY.format(ACCOUNT), manager=refusal(400))).document


def test_a_key_of_another_account_is_refused() -> None:
    assert OTHER in one_problem(Aws(SSEKMSKeyId=KEY.format(OTHER))).got


@pytest.mark.parametrize(
    ("gib", "needed"), [(9, None), (10, 101), (100, 641)], ids=["fit", "one", "both"]
)
def test_two_releases_are_compared_with_the_root_disks(gib: int, needed: int | None) -> None:
    problems = found(Aws(ContentLength=gib * 2**30))
    paths = [each.path for each in problems]
    wanted = {None: [], 101: ["t4"], 641: ["t4", "big"]}[needed]
    assert paths == [f"gpuProfiles.{name}.rootVolumeGib" for name in wanted]
    assert {each.hint for each in problems} == ({f"rootVolumeGib: {needed}"} if needed else set())


@pytest.mark.parametrize(
    ("key", "noted"), [("version", "2.51.3"), ("cuda", "13"), ("sha256", "b" * 64)]
)
def test_what_was_published_is_compared_with_the_stack_file(key: str, noted: str) -> None:
    problem = one_problem(Aws(Metadata={f"graphistry-{key}": noted}))
    assert (problem.path, problem.allowed) == (f"release.{key}", noted)


def test_machines_of_a_rehearsal_reach_no_web_server() -> None:
    raw = {**RAW, "release": {**ARCHIVE, "source": "https://example.com/release.tar.gz"}}
    assert "the sandbox reach nothing outside" in one_problem(raw=raw, is_rehearsal=True).got


class Server(BaseHTTPRequestHandler):
    """A web server with an archive of 1234 bytes, and every other way to answer."""

    asked: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        self.asked.append(f"HEAD {self.path}")
        status = self.path.strip("/")
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/archive")
        elif self.path == "/no-head":
            self.send_response(405)
        elif status.isdigit():
            self.send_response(int(status))
        else:
            self.send_response(200)
            if self.path == "/archive":
                self.send_header("Content-Length", "1234")
        self.end_headers()

    def do_GET(self) -> None:
        self.asked.append(f"GET {self.path} {self.headers['Range']}")
        self.send_response(206)
        self.send_header("Content-Range", "bytes 0-0/1234")
        self.send_header("Content-Length", "1")
        self.end_headers()
        self.wfile.write(b"x")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("path", "size"), [("archive", 1234), ("moved", 1234), ("no-head", 1234), ("unsaid", None)]
)
def test_a_web_server_is_asked_and_nothing_is_fetched(
    web: str, path: str, size: int | None
) -> None:
    Server.asked.clear()
    assert on_the_web(f"{web}/{path}") == Archive(size=size)
    if path == "no-head":
        assert Server.asked == ["HEAD /no-head", "GET /no-head bytes=0-0"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_what_a_web_server_refuses_is_unavailable(web: str, status: int) -> None:
    with pytest.raises(UnavailableError, match=f"HTTP {status}"):
        on_the_web(f"{web}/{status}")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_a_web_server_that_is_busy_says_nothing_of_the_archive(web: str, status: int) -> None:
    with pytest.raises(UnansweredError, match=f"HTTP {status}"):
        on_the_web(f"{web}/{status}")


def test_a_web_server_that_is_not_reached_is_named() -> None:
    with pytest.raises(UnansweredError, match="was not reached from here: Connection refused"):
        on_the_web("http://127.0.0.1:1/archive")
    with pytest.raises(UnansweredError, match="was not reached from here"):
        on_the_web("http://no-such-host.invalid/archive")
