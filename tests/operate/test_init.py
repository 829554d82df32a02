"""`./cluster init`: what it writes passes, overwrites nothing, and is asked for only at a terminal."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

import operate.__main__ as commands
from model.problems import SettingsError
from model.settings.aws import Settings
from model.settings.hosts import HostsSettings
from operate.commands import init
from operate.stack.new_stack_file import NewOnAws, on_aws, write_new
from operate.stack.stack_file import read_stack_file, settings_of

ON_AWS = ("--site", "aws", "--region", "us-east-1", "--leader", "g4dn.2xlarge")
ON_HOSTS = ("--site", "hosts", "--leader", "10.20.0.10", "--gpus", "4", "--gpu-memory", "80")


@pytest.fixture(autouse=True)
def stacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stack files of a checkout without any."""
    monkeypatch.setattr(init, "ROOT", tmp_path)
    (tmp_path / "stacks").mkdir()
    return tmp_path / "stacks"


def run(*words: str, answers: str = "") -> Result:
    return CliRunner().invoke(commands.app, ["init", *words], input=answers)


@pytest.fixture
def at_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody is there to answer."""

    class Terminal:
        @staticmethod
        def isatty() -> bool:
            return True

    class Sys:
        stdin = Terminal()
        argv = sys.argv

    monkeypatch.setattr(init, "sys", Sys)


def test_a_cluster_on_aws_by_options_alone(stacks: Path) -> None:
    done = run("team", *ON_AWS, "--follower", "big=g6.12xlarge", "--follower", "g4dn.2xlarge")
    assert done.exit_code == 0, done.output
    settings = settings_of(read_stack_file(stacks / "Pulumi.team.yaml")["config"])
    assert isinstance(settings, Settings)
    assert settings.profile_of("leader").instance_types == ("g4dn.2xlarge",)
    assert settings.profile_of("big").instance_types == ("g6.12xlarge",)
    assert settings.profile_of("follower-2").instance_types == ("g4dn.2xlarge",)
    assert len(settings.gpu_profiles) == 2
    for each in ("cost team", "publish team release.tar.gz", "preview team", "up team"):
        assert f"`./cluster {each}`" in done.stderr
    assert [each.name for each in stacks.iterdir()] == ["Pulumi.team.yaml"]


def test_a_cluster_on_hosts_by_options_alone(stacks: Path) -> None:
    done = run("rack", *ON_HOSTS, "--memory", "512", "--follower", "rack1=10.20.0.11")
    assert done.exit_code == 0, done.output
    content = read_stack_file(stacks / "Pulumi.rack.yaml", rehearsal=True)
    settings = settings_of(content["config"])
    assert isinstance(settings, HostsSettings)
    assert settings.leader.host.address == "10.20.0.10"
    assert settings.followers["rack1"].host.address == "10.20.0.11"
    profile = settings.profile_of("rack1")
    assert (profile.gpus, profile.gpu_memory_gib, profile.memory_gib) == (4, 80, 512)
    assert "`./cluster host-keys rack`" in done.stderr
    assert "cost" not in done.stderr  # which is for AWS


def test_what_is_written_has_only_host_keys_to_add(stacks: Path) -> None:
    assert run("rack", *ON_HOSTS, "--memory", "512").exit_code == 0
    with pytest.raises(SettingsError) as found:
        read_stack_file(stacks / "Pulumi.rack.yaml")
    assert [each.path for each in found.value.problems] == ["leader.host.hostKey"]


@pytest.mark.parametrize("words", [ON_AWS, (*ON_HOSTS, "--memory", "512")], ids=["aws", "hosts"])
def test_every_key_has_a_comment_that_says_what_a_change_does(
    stacks: Path, words: tuple[str, ...]
) -> None:
    assert run("new", *words).exit_code == 0
    text = (stacks / "Pulumi.new.yaml").read_text()
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line.startswith(("  aws:", "  graphistry-cluster:")):
            around = [lines[number - 1].strip(), lines[number + 1].strip()]
            assert any(each.startswith("# ") for each in around), line
    assert text.count("hange") >= 4
    assert max(map(len, text.splitlines())) <= 120


def test_what_is_commented_out_passes_too(stacks: Path) -> None:
    assert run("new", *ON_AWS).exit_code == 0
    text = (stacks / "Pulumi.new.yaml").read_text()
    for key in ("dataVolume:", "graphistry-cluster:access:", "graphistry-cluster:budget:"):
        assert f"# {key}" in text
        text = text.replace(f"# {key}", key)
    text = text.replace("#   allowedCidrs", "  allowedCidrs").replace("#   monthly", "  monthly")
    (stacks / "Pulumi.new.yaml").write_text(text)
    settings = settings_of(read_stack_file(stacks / "Pulumi.new.yaml")["config"])
    assert isinstance(settings, Settings)
    assert settings.leader.data_volume.size_gib == 200
    assert settings.budget is not None


def test_a_stack_file_that_exists_stays(stacks: Path) -> None:
    file = stacks / "Pulumi.team.yaml"
    file.write_text("mine\n")
    done = run("team", *ON_AWS)
    assert done.exit_code == 1
    assert "exists already, and `init` overwrites nothing" in done.stderr
    assert file.read_text() == "mine\n"
    (stacks / "Pulumi.link.yaml").symlink_to("/nowhere")
    assert "exists already" in run("link", *ON_AWS).stderr
    assert not Path("/nowhere").exists()


def test_what_does_not_pass_is_not_written(stacks: Path) -> None:
    text = on_aws("team", NewOnAws(region="us-east-1", leader="g4dn.2xlarge"))
    wrong = text.replace("profile: g4dn-2xlarge", "profile: t4")
    with pytest.raises(SettingsError) as found:
        write_new(stacks / "Pulumi.team.yaml", wrong)
    assert found.value.problems[0].path == "leader.profile"
    assert list(stacks.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), ["--site", "--leader", "aws needs --region too", "2 problems"]),
        (("--site", "aws"), ["--region", "--leader", "2 problems"]),
        (
            ("--site", "hosts"),
            ["--leader", "--gpus", "--gpu-memory", "--memory", "4 problems", "from 8 to 32768"],
        ),
        (("--site", "host"), ['did you mean "hosts"?']),
        ((*ON_AWS[:-1], "g4nd.2xlarge"), ['did you mean "g4dn.2xlarge"?']),
        ((*ON_AWS[:-1], "g5g.xlarge"), ["it has an ARM processor"]),
        (
            ("--site", "aws", "--region", "us-esat-1", "--leader", "m5.large"),
            ["did you mean 'us-east-1'?", "AWS listed no NVIDIA GPU", "2 problems"],
        ),
        ((*ON_AWS, "--follower", "Big=g4dn.2xlarge"), ["a name of lower-case letters"]),
        ((*ON_AWS, "--follower", "leader=g4dn.2xlarge"), ["another name than leader"]),
        ((*ON_AWS, "--follower", "g6.12xlage"), ['did you mean "g6.12xlarge"?']),
        (
            (*ON_AWS, "--follower", "a=g4dn.2xlarge", "--follower", "a=g6.12xlarge"),
            ["a twice", "each name once"],
        ),
        ((*ON_AWS, "--gpus", "4"), ["--gpus", "it is for --site hosts"]),
        (
            (*ON_HOSTS, "--memory", "4", "--region", "us-east-1"),
            ["from 8 to 32768", "it is for --site aws", "2 problems"],
        ),
        (("--site", "hosts", "--leader", "a.example.com"), ["an IPv4 address such as"]),
        (
            ("--site", "hosts", "--leader", "10.0.0.300", *ON_HOSTS[4:], "--memory", "512"),
            ["four numbers from 0 to 255", "1 problem:"],
        ),
    ],
)
def test_all_that_is_wrong_is_told_at_once(
    stacks: Path, words: tuple[str, ...], told: list[str]
) -> None:
    done = run("team", *words)
    assert done.exit_code == 1
    for each in told:
        assert each in done.stderr
    assert "(null)" not in done.stderr
    assert list(stacks.iterdir()) == []


def test_rules_that_span_several_keys_are_told_and_nothing_is_written(stacks: Path) -> None:
    same = ("--follower", "one=10.20.0.10")
    done = run("rack", *ON_HOSTS, "--memory", "512", *same)
    assert done.exit_code == 1
    assert "10.20.0.10" in done.stderr
    assert list(stacks.iterdir()) == []


@pytest.mark.parametrize("name", ["../prod", "a.b", "-x"])
def test_a_name_that_is_none_reaches_no_file(stacks: Path, name: str) -> None:
    done = run("--", name, *ON_AWS) if name.startswith("-") else run(name, *ON_AWS)
    assert done.exit_code != 0
    assert list(stacks.iterdir()) == []


@pytest.mark.usefixtures("at_terminal")
def test_a_terminal_is_asked_and_asked_again_after_a_wrong_answer(stacks: Path) -> None:
    answers = "asw\naws\nus-esat-1\nus-west-2\ng4nd.2xlarge\n\nbig=g6.12xlarge, g4dn.xlarge\n"
    done = run("team", answers=answers)
    assert done.exit_code == 0, done.output
    for told in ('did you mean "aws"?', "did you mean 'us-east-1'?", 'did you mean "g4dn.2xlarge"'):
        assert told in done.output
    content = yaml.safe_load((stacks / "Pulumi.team.yaml").read_text())["config"]
    assert content["aws:region"] == "us-west-2"
    assert list(content["graphistry-cluster:followers"]) == ["big", "follower-2"]


@pytest.mark.usefixtures("at_terminal")
def test_a_terminal_is_asked_only_for_what_options_lack(stacks: Path) -> None:
    done = run("rack", *ON_HOSTS, answers="\n512\n")
    assert done.exit_code == 0, done.output
    assert "Site" not in done.output
    assert "GPUs of each host" not in done.output
    content = yaml.safe_load((stacks / "Pulumi.rack.yaml").read_text())["config"]
    assert content["graphistry-cluster:followers"] == {}


@pytest.mark.usefixtures("at_terminal")
def test_whoever_stops_answering_has_written_nothing(stacks: Path) -> None:
    assert run("team", answers="aws\n").exit_code == 1
    assert list(stacks.iterdir()) == []


def test_a_stack_of_the_sandbox_goes_there_next() -> None:
    assert "`./cluster up my-sandbox`" in run("my-sandbox", *ON_AWS).stderr
