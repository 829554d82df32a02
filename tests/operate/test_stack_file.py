"""Mistakes in a stack file that are told before Pulumi is asked."""

from pathlib import Path

import pytest

from model.settings import SettingsError
from operate.messages import UserError
from operate.stack_file import read_stack_file
from tests.harness import ROOT

SOUND = (ROOT / "stacks" / "Pulumi.dev.yaml").read_text()


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
    assert "make host-keys STACK=name" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("config:\n  a: [1\n", "is not YAML in line"),
        ("config:\n\ta: 1\n", "is not YAML in line 2"),
        ("", "has no `config:`"),
        ("config:\n", "has no `config:`"),
        ("just words", "has no `config:`"),
        ("config: {aws:region: us-east-1, aws:region: us-west-2}", "aws:region stands twice"),
        (SOUND.replace("graphistry-cluster:followers", "graphistry:followers"), "did you mean"),
        (SOUND.replace("aws:region: us-east-1", "aws:profile: x"), "has no aws:region"),
        (SOUND.replace("    one:\n", "    one: {profile: t4}\n    one:\n"), "one stands twice"),
    ],
)
def test_what_is_no_stack_file_is_told_in_one_sentence(
    tmp_path: Path, text: str, told: str
) -> None:
    with pytest.raises(UserError) as refused:
        read_stack_file(write(tmp_path, text))
    assert told in str(refused.value)
    assert "Pulumi.mine.yaml" in str(refused.value)


def test_missing_keys_and_wrong_values_are_told_together(tmp_path: Path) -> None:
    text = SOUND.replace("graphistry-cluster:release:", "graphistry-cluster:image:")
    with pytest.raises(SettingsError) as refused:
        read_stack_file(write(tmp_path, text.replace("profile: t4", "profile: t44")))
    assert len(refused.value.problems) >= 3


def test_a_private_key_in_plain_is_refused_and_not_shown(tmp_path: Path) -> None:
    text = (ROOT / "stacks" / "Pulumi.onprem.yaml").read_text()
    key = "  graphistry-cluster:sshPrivateKey: -----BEGIN PRIVATE KEY----- canary\n"
    with pytest.raises(UserError, match="config set --secret sshPrivateKey") as raised:
        read_stack_file(write(tmp_path, text + key))
    assert "canary" not in str(raised.value)
