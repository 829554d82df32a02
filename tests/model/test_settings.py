"""What a stack file may say, what it may not, and in which words it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from model.problems import Problem, SettingsError
from model.settings.aws import Settings
from model.settings.read import parse
from model.tags import OWN_TAGS
from tests.model.examples import ABSENT, EXISTING_VPC, FULL, SMALLEST, changed, on_aws

ANSWERS: dict[str, list[dict[str, Any]]] = yaml.safe_load(
    Path(__file__).with_name("answers.yaml").read_text(encoding="utf-8")
)


def stack_file(case: dict[str, Any]) -> dict[str, Any]:
    absent = dict.fromkeys(case.get("without", []), ABSENT)
    return changed(FULL, {**case.get("change", {}), **absent})


def problems_of(raw: dict[str, object]) -> tuple[Problem, ...]:
    with pytest.raises(SettingsError) as refused:
        parse(raw)
    return refused.value.problems


@pytest.mark.parametrize("case", ANSWERS["accepted"], ids=lambda case: case["name"])
def test_a_stack_file_is_accepted_with(case: dict[str, Any]) -> None:
    assert isinstance(parse(stack_file(case)), Settings)


@pytest.mark.parametrize("case", ANSWERS["refused"], ids=lambda case: case["answer"].split("\n")[0])
def test_one_mistake_gives_one_problem_in_the_words_of_its_field(case: dict[str, Any]) -> None:
    (problem,) = problems_of(stack_file(case))
    assert str(problem) == case["answer"]


def test_own_tags_leave_room_for_the_programs_own() -> None:
    tags = {f"tag-{number}": "x" for number in range(OWN_TAGS)}
    assert on_aws(changed(SMALLEST, {"tags": tags})).tags == tags


def test_what_is_left_out_gets_the_documented_defaults() -> None:
    settings = on_aws(SMALLEST)
    assert settings.followers == {}
    assert settings.shared_folder.throughput_mode == "elastic"
    assert settings.network.cidr_block == "10.40.0.0/16"
    assert settings.access.allowed_cidrs == ()
    assert (settings.release.version, settings.release.source) == ("2.50.1", "preinstalled")
    assert settings.gpu_profiles["t4"].root_volume_gib == 200


def test_a_follower_uses_its_own_number_of_gpus_before_its_profiles() -> None:
    settings = on_aws(FULL)
    assert [settings.gpus_of(node) for node in ("leader", "big", "small")] == [1, 2, 1]
    assert settings.profile_of("big") is settings.gpu_profiles["l40s"]


def test_settings_cannot_be_changed_after_parsing() -> None:
    with pytest.raises(ValueError, match="frozen"):
        on_aws(SMALLEST).leader.profile = "other"


TEN_MISTAKES: dict[str, object] = {
    "gpuProfiles.t4.instanceTypes": ["g4dn.2xlarg"],
    "gpuProfiles.l40s.rootVolumeGb": 300,
    "leader.profile": "t44",
    "leader.dataVolume.sizeGib": "100",
    "leader.availabilityZone": "us-east-1c",
    "followers.big.market": "preemptible",
    "followers.small.gpus": 0,
    "network.flowLogs": "yes",
    "release.sha256": ABSENT,
    "acess": {"allowedCidrs": []},
}


def test_ten_mistakes_give_ten_problems_at_once() -> None:
    paths = {problem.path for problem in problems_of(changed(FULL, TEN_MISTAKES))}
    assert paths == {
        "gpuProfiles.t4.instanceTypes[0]",
        *(set(TEN_MISTAKES) - {"gpuProfiles.t4.instanceTypes"}),
    }


def test_the_message_counts_and_numbers_the_problems() -> None:
    with pytest.raises(SettingsError) as refused:
        parse(changed(FULL, TEN_MISTAKES))
    text = str(refused.value)
    assert text.startswith(
        "The settings have 10 problems:\n\n   1. gpuProfiles.t4.instanceTypes[0]\n"
    )
    last = "\n  10. release.sha256\n      got:     nothing\n      allowed: the tarball"
    assert last in text


def test_a_rule_is_not_reported_when_it_only_follows_from_another_mistake() -> None:
    changes: dict[str, object] = {
        "gpuProfiles.T4": {"instanceTypes": ["g4dn.xlarge"]},  # a name that is not allowed ...
        "followers.small.profile": "T4",  # ... but that does exist
        "network": {"vpcID": "vpc-0000000a", "subnetIds": EXISTING_VPC["subnetIds"]},
        "release": {"version": "2.50.1", "cuda": "12", "source": "s3:/typo"},
    }
    paths = [problem.path for problem in problems_of(changed(FULL, changes))]
    assert paths == ["gpuProfiles.T4", "network.vpcID", "release.source"]


def test_rules_of_a_section_are_checked_although_another_key_of_it_is_wrong() -> None:
    changes: dict[str, object] = {"followers.small": {"profile": "huge", "market": "free"}}
    paths = {problem.path for problem in problems_of(changed(FULL, changes))}
    assert paths == {"followers.small.profile", "followers.small.market"}


@pytest.mark.parametrize(
    "changes",
    [
        {"adminPassword": "hunter2"},
        {"tags": {"db-password": ["hunter2"]}},
        {"leader": {"profile": "t4", "token": "hunter2"}},
        {"release.source": "https://me:hunter2@example.com/graphistry.tar.gz"},
        {"release": "https://example.com/graphistry.tar.gz?signature=hunter2"},
        {"followers": {"secret": {"profile": "t4", "market": "hunter2"}}},
    ],
    ids=str,
)
def test_no_message_repeats_what_may_be_a_secret(changes: dict[str, object]) -> None:
    with pytest.raises(SettingsError) as refused:
        parse(changed(FULL, changes))
    assert "hunter2" not in str(refused.value)
    assert "hunter2" not in repr(refused.value)
