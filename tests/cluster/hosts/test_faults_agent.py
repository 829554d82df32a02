"""The faults that the agent meets, again on hosts: what it says and mends does not depend on the site."""

from __future__ import annotations

import json

# Collected here a second time, with this file's cluster.
from tests.cluster.aws.test_faults_machine import (  # noqa: F401
    test_a_container_that_lost_its_gpus_is_made_anew,
    test_a_driver_that_is_too_old_is_told_before_anything_else,
    test_a_driver_that_no_longer_answers_is_told_in_its_own_words,
    test_a_release_that_ignores_the_override_is_called_with_it,
    test_a_service_that_never_gets_healthy_is_told_with_its_log,
    test_a_service_that_was_killed_is_running_again,
    test_a_service_that_was_stopped_is_started_again,
    test_services_that_would_share_the_leaders_redis_are_found_and_parted,
    test_three_of_four_gpus_are_not_enough,
)
from tests.cluster.aws.test_faults_shared_folder import (  # noqa: F401
    test_a_follower_is_ready_again_after_a_reboot,
    test_a_killed_agent_comes_back_and_restarts_nothing,
    test_a_mount_that_is_lost_is_made_anew,
    test_services_that_began_without_the_shared_folder_are_restarted,
)
from tests.cluster.on_hosts import OnHosts

SECRET = "/var/lib/graphistry-cluster/secret.json"


def test_followers_outlive_a_restart_of_a_leader_that_is_the_file_server(cluster: OnHosts) -> None:
    cluster.reboot("leader")
    cluster.until_ready("leader")
    dataset = cluster.exercise("leader", "upload", "after")["datasetId"]
    for node in ("small", "large"):
        cluster.until_reads(node, dataset)
        cluster.until_ready(node)


def test_a_damaged_secret_on_a_host_is_refused_without_showing_it(cluster: OnHosts) -> None:
    started = cluster.services_started("small")
    first = json.loads(cluster.run("small", f"cat {SECRET}"))
    damaged = json.dumps({**first, "nexusEncryptionKey": ""})
    cluster.run("small", f"cp -p {SECRET} {SECRET}.kept && echo '{damaged}' > {SECRET}")
    cluster.restart_agent("small")
    failure = cluster.until_failed("small", "SecretInvalid")
    assert "lacks nexusEncryptionKey" in failure["message"]
    assert first["postgresPassword"] not in json.dumps(cluster.report("small"))
    cluster.run("small", f"mv {SECRET}.kept {SECRET}")
    cluster.until_ready("small")
    assert cluster.services_started("small") == started


def test_a_host_beyond_repair_stays_and_says_so(cluster: OnHosts) -> None:
    path = cluster.sandbox_file("small", "machine.json")
    gpus = json.loads(path.read_text())["gpus"]
    cluster.edit_machine("small", gpus=[])
    stays = "given up after 3 tries; the node stays degraded"
    cluster.until(
        "small",
        lambda report: (
            report["state"] == "degraded"
            and any(stays in each["outcome"] for each in report["repairs"])
        ),
    )
    cluster.until_failed("small", "GpuUnavailable")
    assert cluster.nodes()["small"]["state"].startswith("degraded")
    cluster.edit_machine("small", gpus=gpus)
    cluster.until_ready("small")
