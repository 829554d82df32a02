"""Mistakes in a stack file that are told before Pulumi is asked."""

import re
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from model.problems import Problem, SettingsError, UserError
from model.settings.image import LockedImage
from operate.commands.host_keys import Found
from operate.commands.host_keys import write as write_keys
from operate.stack.image_lock import write_lock
from operate.stack.release_file import write_release
from operate.stack.stack_file import read_stack_file, read_to_edit, settings_of
from operate.stack.stack_yaml import dumped, read_yaml
from tests.harness import ROOT

SOUND = (ROOT / "stacks" / "Pulumi.dev.yaml").read_text()
DEEP_BLOCKS = "config:\n" + "".join(" " * depth + "- \n" for depth in range(200))


def write(folder: Path, text: str) -> Path:
    path = folder / "Pulumi.mine.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("stack", ["sandbox", "dev", "prod"])
def test_the_stack_files_of_the_project_are_sound(stack: str) -> None:
    assert read_stack_file(ROOT / "stacks" / f"Pulumi.{stack}.yaml")["config"]


@pytest.mark.parametrize("stack", ["onprem", "onprem-sandbox"])
def test_those_of_hosts_lack_the_host_keys_only_which_are_yours(stack: str) -> None:
    file = ROOT / "stacks" / f"Pulumi.{stack}.yaml"
    assert read_stack_file(file, rehearsal=True)["config"]
    with pytest.raises(SettingsError) as refused:
        read_stack_file(file)
    assert {each.path.rpartition(".")[2] for each in refused.value.problems} == {"hostKey"}
    assert f"`./cluster host-keys {stack}` shows" in str(refused.value)
    assert "STACK=name" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("config:\n  a: [1\n", "is not YAML in line"),
        ("config:\n\ta: 1\n", "is not YAML in line 2"),
        ("", "has no `config:`"),
        ("config:\n", "has no `config:`"),
        ("just words", "has no `config:`"),
        ("config:\n  - a\n", "has no `config:`"),
        ("- config\n", "it is a list of 1"),
        ("confg: {aws:region: us-east-1}\n", "did you mean `config:` by confg?"),
        ("a: &a [*a]\n", "is not YAML in line 1: *a stands within what it is an alias of"),
        ("a: !!python/object:os.system x\n", "put text in quotes"),
        ("a: 1\n---\nb: 2\n", "in line 2: expected a single document"),
        ("a: \x00\n", "is not YAML in line 1: the character U+0000"),
        ('a: "\\Uffffffff"\n', "is no character"),
        (f"config: {'[' * 5000}", "more than 50 deep"),
        (DEEP_BLOCKS, "more than 50 deep"),
        (f"config: {'x' * 2**20}", "is larger than 1 MiB"),
    ],
)
def test_what_is_no_stack_file_is_told_in_one_sentence(
    tmp_path: Path, text: str, told: str
) -> None:
    with pytest.raises(UserError) as refused:
        read_stack_file(write(tmp_path, text))
    assert told in str(refused.value)
    assert "Pulumi.mine.yaml" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_aliases_that_multiply_end_early(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    with pytest.raises(UserError, match="in line 5: with its aliases this is more than 50000"):
        read_stack_file(write(tmp_path, "\n".join(lines)))


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (
            SOUND.encode().replace(b"# Small", b"# Gr\xf6\xdfe"),
            "is not UTF-8, line 2: the byte 0xf6",
        ),
        (SOUND.encode().replace(b"environment: dev", b"x: caf\xe9"), "is not UTF-8, line 47"),
        (SOUND.encode("utf-16"), "is UTF-16"),
    ],
)
def test_bytes_that_are_no_utf_8_are_told_with_their_line(
    tmp_path: Path, raw: bytes, told: str
) -> None:
    path = tmp_path / "Pulumi.mine.yaml"
    path.write_bytes(raw)
    with pytest.raises(UserError) as refused:
        read_stack_file(path)
    assert told in str(refused.value)
    assert "iconv -f" in str(refused.value)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "Pulumi.mine.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + SOUND.encode())
    assert read_stack_file(path)["config"]


def test_files_that_cannot_be_opened_are_told_in_one_sentence(tmp_path: Path) -> None:
    folder, link = tmp_path / "Pulumi.folder.yaml", tmp_path / "Pulumi.link.yaml"
    folder.mkdir()
    link.symlink_to(tmp_path / "nowhere")
    for path, told in (
        (folder, "cannot be read: Is a directory"),
        (link, f"No such file or directory; it is a link to {tmp_path / 'nowhere'}"),
        (tmp_path / "Pulumi.gone.yaml", "No such file or directory"),
    ):
        for read in (read_stack_file, read_to_edit):
            with pytest.raises(UserError) as refused:
                read(path)
            assert told in str(refused.value)


def problems_of(folder: Path, text: str) -> dict[str, Problem]:
    with pytest.raises(SettingsError) as refused:
        read_stack_file(write(folder, text))
    assert str(refused.value).startswith("stacks/Pulumi.mine.yaml has ")
    return {each.path: each for each in refused.value.problems}


FOLLOWER = "    one:\n"


@pytest.mark.parametrize(
    ("text", "place", "told"),
    [
        (
            SOUND.replace(FOLLOWER, f"    one: {{profile: t4}}\n{FOLLOWER}"),
            "followers.one",
            "one stands twice, in line 25 and in line 26",
        ),
        (
            f"{SOUND}  aws:region: us-west-2\n",
            "aws:region",
            "aws:region stands twice, in line 7 and in line",
        ),
        (SOUND.replace(FOLLOWER, "    no:\n"), "followers.no", 'takes for false.*quote it: "no":'),
        (SOUND.replace(FOLLOWER, "    Yes:\n"), "followers.Yes", 'for true.*quote it: "Yes":'),
        (SOUND.replace(FOLLOWER, "    on:\n"), "followers.on", 'for true.*quote it: "on":'),
        (SOUND.replace(FOLLOWER, "    null:\n"), "followers.null", "takes for nothing"),
        (SOUND.replace(FOLLOWER, "    1e3:\n"), "followers.1e3", "takes for a number"),
        (SOUND.replace(FOLLOWER, "    0x10:\n"), "followers.0x10", "takes for a number"),
        (SOUND.replace(FOLLOWER, "    7:\n"), "followers.7", "takes for a number"),
        (SOUND.replace(FOLLOWER, "    2026-01-02:\n"), "followers.2026-01-02", "takes for a date"),
        (
            SOUND.replace(FOLLOWER, "    ? [a]\n    :\n"),
            'followers."?"',
            "a map or list",
        ),
        (
            SOUND.replace("sizeGib: 20", "sizeGib: 0x20"),
            "leader.dataVolume.sizeGib",
            "0x20 in line",
        ),
        (SOUND.replace("sizeGib: 20", "sizeGib: 020"), "leader.dataVolume.sizeGib", "020 in line"),
        (
            SOUND.replace("sizeGib: 20", "sizeGib: .nan"),
            "leader.dataVolume.sizeGib",
            ".nan in line",
        ),
        (SOUND.replace("sizeGib: 20", "sizeGib: 2e1"), "leader.dataVolume.sizeGib", "2e1 in line"),
        (SOUND.replace("sizeGib: 20", "sizeGib: yes"), "leader.dataVolume.sizeGib", '"yes"'),
        (
            SOUND.replace("sizeGib: 20", f"sizeGib: {'9' * 5000}"),
            "leader.dataVolume.sizeGib",
            "5000",
        ),
        (
            SOUND.replace("environment: dev", "day: 2026-01-02"),
            "tags.day",
            'quote it: "2026-01-02"',
        ),
        (SOUND.replace("environment: dev", 'x: "\\ud800"'), "tags.x", "half a character"),
        (SOUND.replace("environment: dev", "<<: [1]"), 'tags."<<"', "an alias of a map"),
        (
            SOUND.replace("graphistry-cluster:leader:", "leader:"),
            "the key leader",
            "write `graphistry-cluster:` in front of it",
        ),
        (SOUND.replace("aws:region", "region"), "the key region", "write `aws:` in front"),
        (
            SOUND.replace("graphistry-cluster:followers", "graphistry:followers"),
            "graphistry:followers",
            "did you mean graphistry-cluster:followers?",
        ),
        (
            SOUND.replace("graphistry-cluster:followers", "graphistry-cluster:folowers"),
            "folowers",
            'did you mean "followers"',
        ),
        (SOUND.replace("aws:region", "aws:regoin"), "aws:regoin", "did you mean aws:region?"),
        (SOUND.replace("aws:region: us-east-1", "aws:profile: x"), "aws:region", "nothing"),
        (SOUND.replace("aws:region: us-east-1", "aws:profile: x"), "aws:profile", "AWS_PROFILE"),
        (SOUND.replace("us-east-1", "useast1"), "aws:region", "a region of AWS such as"),
        (SOUND.replace("us-east-1", "[us-east-1]"), "aws:region", "a list of 1"),
        (
            SOUND.replace("cuda:", "sha256: {secure: v1:a}\n    cuda:"),
            "release",
            "an encrypted value.*the only secret",
        ),
        (f"graphistry-cluster:tags: {{}}\n{SOUND}", '"graphistry-cluster:tags"', "indent it"),
        (f"encryptionsalts: x\n{SOUND}", "encryptionsalts", 'did you mean "encryptionsalt"'),
    ],
)
def test_what_reads_otherwise_than_it_was_meant_is_one_problem(
    tmp_path: Path, text: str, place: str, told: str
) -> None:
    assert text != SOUND
    problems = problems_of(tmp_path, text)
    assert re.search(told, str(problems[place]), re.DOTALL)
    beside = {"tags", "followers", "leader", "release"} & set(problems) - {place}
    assert not beside  # and no second one that follows from it


@pytest.mark.parametrize(
    "key",
    ["secretKey", "accessKey", "token", "SecretKey", "sharedCredentialsToken", "webIdentityToken"],
)
@pytest.mark.parametrize("value", ["canary", "{secure: canary}"])
def test_credentials_of_aws_are_refused_and_not_shown(tmp_path: Path, key: str, value: str) -> None:
    text = SOUND.replace("config:\n", f"config:\n  aws:{key}: {value}\n")
    problems = problems_of(tmp_path, text)
    assert set(problems) == {f"aws:{key}"}
    assert "take it out and use another one if it was shared" in str(problems[f"aws:{key}"])
    assert "canary" not in str(problems)


def test_the_keys_of_another_map_are_taken_over_as_pulumi_does(tmp_path: Path) -> None:
    """Its reader takes the first of a list, and what stands in the map itself before that."""
    text = SOUND.replace(
        FOLLOWER,
        "    zero: &zero {profile: none, market: spot}\n"
        "    half: &half {profile: t4}\n"
        "    two: {<<: [*half, *zero]}\n"
        "    three: {market: on-demand, <<: *half}\n"
        "    one:\n      <<: *zero\n",
    ).replace("zero: &zero {profile: none", "zero: &zero {profile: t4, gpus: 1")
    followers = read_stack_file(write(tmp_path, text))["config"]["graphistry-cluster:followers"]
    assert followers["two"] == {"profile": "t4", "gpus": 1, "market": "spot"}
    assert followers["three"] == {"profile": "t4", "market": "on-demand"}
    assert followers["one"] == {"profile": "t4", "gpus": 1, "market": "spot"}


@pytest.mark.parametrize("name", ["größe", "a.b", "T4", "two words", "名"])
def test_a_wrong_name_of_a_profile_is_one_mistake(tmp_path: Path, name: str) -> None:
    text = re.sub(r"\bt4\b", name, SOUND)
    assert [each.rpartition(".")[0] for each in problems_of(tmp_path, text)] in (
        ["gpuProfiles"],
        ['gpuProfiles."a'],
    )


def test_many_problems_of_one_kind_are_counted_and_not_all_listed(tmp_path: Path) -> None:
    followers = "".join(f"    F{number}: {{profile: t4}}\n" for number in range(100))
    with pytest.raises(SettingsError) as refused:
        read_stack_file(write(tmp_path, SOUND.replace(FOLLOWER, followers + FOLLOWER)))
    assert "has 100 problems" in str(refused.value)
    assert str(refused.value).endswith("and 70 more, once these are fixed")


@pytest.mark.parametrize(
    "text", ["no", "1e3", "0x10", "12:30", "2026-01-02", "a: b", "é", "\U0001f600", '"', "\\", " "]
)
def test_what_is_written_is_text_for_every_reader(tmp_path: Path, text: str) -> None:
    path = tmp_path / "Pulumi.mine.yaml"
    written = {"config": {text: text, "number": 7, "on": True, "list": [1.5, None]}}
    path.write_text(dumped(written))
    assert read_yaml(path).data == written
    assert read_yaml(path).problems == ()


def test_missing_keys_and_wrong_values_are_told_together(tmp_path: Path) -> None:
    text = SOUND.replace("graphistry-cluster:release:", "graphistry-cluster:image:")
    with pytest.raises(SettingsError) as refused:
        read_stack_file(write(tmp_path, text.replace("profile: t4", "profile: t44")))
    assert len(refused.value.problems) >= 3


def test_a_private_key_in_plain_is_refused_and_not_shown(tmp_path: Path) -> None:
    text = (ROOT / "stacks" / "Pulumi.onprem.yaml").read_text()
    key = "  graphistry-cluster:sshPrivateKey: -----BEGIN PRIVATE KEY----- canary\n"
    with pytest.raises(
        SettingsError, match="config set --stack STACK --secret sshPrivateKey"
    ) as raised:
        read_stack_file(write(tmp_path, text + key))
    assert "canary" not in str(raised.value)


ENV = "  graphistry-cluster:secretEnv:\n"
COMMAND = "pulumi config set --stack STACK --secret --path graphistry-cluster:secretEnv."


@pytest.mark.parametrize(
    ("text", "place", "told"),
    [
        (f"{ENV}    A: canary\n    B: {{secure: v1:x}}\n", "secretEnv.A", f"{COMMAND}A"),
        (f"{ENV}    secure: canary\n", "secretEnv", f"{COMMAND}NAME"),
        (f"{ENV}    A: [canary]\n", "secretEnv.A", f"{COMMAND}A"),
        (
            f"{ENV}    DASK_NUM_WORKERS: {{secure: canary}}\n",
            "DASK_NUM_WORKERS",
            "workersPerGpu.dask",
        ),
        ("  graphistry-cluster:secretEnv: canary\n", "secretEnv", f"{COMMAND}NAME"),
        ("  secretEnv: {A: canary}\n", "the key secretEnv", "write `graphistry-cluster:`"),
        (
            "  graphistry-cluster:encryptionKey: {secure: canary}\n",
            "encryptionKey",
            "variables of secretEnv are the only",
        ),
    ],
)
def test_a_secret_variable_in_plain_is_refused_and_not_shown(
    tmp_path: Path, text: str, place: str, told: str
) -> None:
    with pytest.raises(SettingsError) as raised:
        read_stack_file(write(tmp_path, SOUND.replace("config:\n", f"config:\n{text}")))
    (found,) = (each for each in raised.value.problems if place in each.path)
    assert told in str(found)
    assert "canary" not in str(raised.value)


def test_encrypted_variables_are_settings_whose_values_nobody_knows(tmp_path: Path) -> None:
    text = SOUND.replace("config:\n", f"config:\n{ENV}    A: {{secure: v1:canary}}\n")
    config = read_stack_file(write(tmp_path, text))["config"]
    settings = settings_of(config)
    assert list(settings.secret_env) == ["A"]
    assert "canary" not in str(settings.secret_env["A"].get_secret_value())


WRITERS: dict[str, Callable[[Path], None]] = {
    "image-refresh": lambda file: write_lock(
        file, "us-east-1", LockedImage(id="ami-0123456789abcdef0", name="base", date="2026-07-17")
    ),
    "publish": lambda file: write_release(file, {"version": "2.51.3"}),
    "host-keys": lambda file: write_keys(
        file, [Found(place="leader", address="a", known="", key="ssh-ed25519 AAAA")]
    ),
}


def written_by(command: str, folder: Path) -> Path:
    """A copy of the stack file that a command writes to."""
    stack = "onprem" if command == "host-keys" else "prod"
    return write(folder, (ROOT / "stacks" / f"Pulumi.{stack}.yaml").read_text())


@pytest.mark.parametrize("command", WRITERS)
def test_a_full_disk_leaves_the_stack_file_as_it_was(command: str, tmp_path: Path) -> None:
    file = written_by(command, tmp_path)
    before = file.read_text()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(UserError, match="File too large"):
            WRITERS[command](file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert file.read_text() == before
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("command", WRITERS)
def test_mode_and_symbolic_link_of_a_stack_file_stay(command: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    file = written_by(command, tmp_path / "elsewhere")
    file.chmod(0o640)
    link = tmp_path / file.name
    link.symlink_to(file)
    before = file.read_text()
    WRITERS[command](link)
    assert link.is_symlink()
    assert file.read_text() != before
    assert file.stat().st_mode & 0o777 == 0o640
