"""Instances of the sandbox as machines that really boot."""

from __future__ import annotations

import json
import shlex
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import docker
import pytest
from botocore.exceptions import ClientError

from agent.containers.engine import EVENTS
from components.agent_archive import build_archive
from sandbox.machines import container
from tests.agent import engine_judge
from tests.machines.world import ADDRESSES, ZONES, World, allow, group, launch_group, member, until

pytestmark = pytest.mark.engine

TOKEN = (
    "token=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60'"
    " http://169.254.169.254/latest/api/token)"
)
ASK = 'ask() { curl -sf -H "X-aws-ec2-metadata-token: $token" http://169.254.169.254/latest/$1; }'


@pytest.fixture(scope="module")
def pair(cloud: World) -> list[str]:
    """Two machines of one group, each with a server on port 8080."""
    # a service, because user data's own children end with it
    user_data = "systemd-run --unit=web python3 -m http.server 8080; env >/root/environment"
    return [cloud.booted(each) for each in [cloud.run(user_data) for _ in range(2)]]


def address(cloud: World, machine: str) -> str:
    found = cloud.client("ec2").describe_instances(InstanceIds=[machine])
    return str(found["Reservations"][0]["Instances"][0]["PrivateIpAddress"])


def fetches(cloud: World, source: str, target: str, port: int = 8080) -> bool:
    url = f"http://{address(cloud, target)}:{port}/"
    return cloud.succeeds(source, f"curl -s -m 2 -o /dev/null {url}")


def test_a_machine_runs_its_user_data_with_the_ec2_datasource(
    cloud: World, pair: list[str]
) -> None:
    assert cloud.shell(pair[0], "cloud-id") == "ec2"
    environment = cloud.shell(pair[0], "cat /root/environment")
    assert "AWS_ENDPOINT_URL=http://10.40.0.1:" in environment
    assert cloud.shell(pair[0], "systemctl is-system-running --wait") == "running"
    assert cloud.shell(pair[0], ADDRESSES) == address(cloud, pair[0])


def test_a_machine_has_no_release_unless_its_image_has_one(cloud: World, pair: list[str]) -> None:
    for folder in ("/home/ubuntu/graphistry", "/var/graphistry", "/opt/graphistry"):
        assert not cloud.succeeds(pair[0], f"test -e {folder}")
    images = cloud.shell(pair[0], "docker image ls --format '{{.Repository}}'")
    assert images == "graphistry-standin-base"


def test_metadata_is_that_of_the_asking_machine(cloud: World, pair: list[str]) -> None:
    for machine in pair:
        script = f'eval "$(systemctl show-environment)"; {TOKEN}; {ASK}; '
        described = cloud.shell(
            machine,
            f"{script} for each in instance-id instance-type local-ipv4 placement/region"
            " placement/availability-zone iam/security-credentials/; do"
            " ask meta-data/$each; echo; done",
        ).split()
        expected = [machine, "g4dn.xlarge", address(cloud, machine), "us-east-1", ZONES[0], "node"]
        assert described == expected
        role = cloud.shell(machine, f"{script} ask meta-data/iam/security-credentials/node")
        assert json.loads(role)["Code"] == "Success"
        assert "http.server" in cloud.shell(machine, f"{script} ask user-data")
        document = cloud.shell(machine, f"{script} ask dynamic/instance-identity/document")
        assert json.loads(document)["instanceId"] == machine
        mac = cloud.shell(machine, "cat /sys/class/net/eth0/address")
        assert cloud.shell(machine, f"{script} ask meta-data/mac") == mac


def test_machines_of_a_group_meet_where_a_rule_lets_them(cloud: World, pair: list[str]) -> None:
    stranger = cloud.booted(cloud.run(group=cloud.stranger))
    assert fetches(cloud, pair[0], pair[1])
    assert not fetches(cloud, stranger, pair[1])
    assert not cloud.succeeds(pair[0], f"ping -c 1 -W 1 {address(cloud, pair[1])}")
    extra = group(cloud, "late")
    cloud.client("ec2").modify_instance_attribute(InstanceId=stranger, Groups=[extra])
    allow(cloud, cloud.group, 8080, extra)
    until(lambda: fetches(cloud, stranger, pair[1]), "a new rule reaches running machines")
    cloud.client("ec2").terminate_instances(InstanceIds=[stranger])
    until(lambda: not cloud.inspect(stranger), "a terminated machine is gone")


def test_rules_hold_for_the_published_ports_of_containers(cloud: World, pair: list[str]) -> None:
    server = (
        "docker run -d -p 5432:80 -p 8081:80 graphistry-standin-base:1 python3 -m http.server 80"
    )
    container = cloud.shell(pair[1], server)
    until(lambda: fetches(cloud, pair[0], pair[1], 5432), "the container serves the group")
    assert cloud.succeeds(pair[1], "curl -s -m 2 -o /dev/null http://127.0.0.1:8081/")
    assert not fetches(cloud, pair[0], pair[1], 8081)
    for port, answers in ((8080, True), (8081, False)):
        out = f"curl -s -m 2 -o /dev/null http://{address(cloud, pair[0])}:{port}/"
        assert cloud.succeeds(pair[1], f"docker exec {container} {out}") is answers
    cloud.shell(pair[1], f"docker rm -f {container}")


@pytest.mark.parametrize("hops", [1, 2])
def test_a_container_gets_a_token_only_where_it_travels_a_hop_more(
    cloud: World, pair: list[str], hops: int
) -> None:
    cloud.client("ec2").modify_instance_metadata_options(
        InstanceId=pair[0], HttpPutResponseHopLimit=hops
    )
    ask = f'{TOKEN.replace("-sf", "-sf -m 2")} && test -n "$token"'
    assert cloud.succeeds(pair[0], ask)
    in_container = f"docker run --rm graphistry-standin-base:1 sh -c {shlex.quote(ask)}"
    assert cloud.succeeds(pair[0], in_container) is (hops == 2)
    # A page that needs no token comes through: it is the token alone that does not travel.
    reached = "docker run --rm graphistry-standin-base:1 curl -s -m 2 http://169.254.169.254/"
    assert cloud.succeeds(pair[0], reached)


def test_a_container_gets_gpus_where_it_asks_for_them(cloud: World, pair: list[str]) -> None:
    settings = {"runtimes": {"nvidia": {"path": "nvidia-container-runtime"}}}
    cloud.shell(
        pair[0],
        f"echo '{json.dumps(settings)}' >/etc/docker/daemon.json && systemctl restart docker",
    )

    def said(variable: str, script: str) -> str:
        run = f"docker run --rm --runtime nvidia -e {variable} graphistry-standin-base:1"
        return cloud.shell(pair[0], f'{run} sh -c "{script}; true" 2>&1')

    visible = "NVIDIA_VISIBLE_DEVICES=all"
    assert said(visible, "nvidia-smi -L") == cloud.shell(pair[0], "nvidia-smi -L")
    assert "not found" in said("NVIDIA_VISIBLE_DEVICES=void", "nvidia-smi -L")
    lost = said(visible, "rm /dev/nvidiactl; nvidia-smi -L")
    assert lost == "Failed to initialize NVML: Unknown Error"


ASKED = """
import dataclasses, json, subprocess, sys, threading, time
sys.path.insert(0, "/root/agent.pyz")
from agent.containers import engine
found = engine.containers("judged")
identifier = next(each.identifier for each in found if each.service == "runs")
script = "echo out; echo err >&2; exit 3"
executed = engine.execute(identifier, ["sh", "-c", script], 20)
hung = engine.execute(identifier, ["sh", "-c", "sleep 301 & sleep 302"], 1)
top = ["docker", "top", identifier]
end = time.monotonic() + 10
while "sleep 30" in (left := subprocess.check_output(top, text=True).replace("sleep 300", "")):
    if time.monotonic() > end:
        break
seen = []
threading.Thread(target=lambda: [seen.append(1) for _ in engine.events()], daemon=True).start()
time.sleep(1)
begun = time.time()
subprocess.run(["docker", "restart", "-t", "0", identifier], check=True, capture_output=True)
time.sleep(1)
print(json.dumps({
    "containers": [dataclasses.asdict(each) for each in found],
    "executed": dataclasses.astuple(executed),
    "hung": [hung.status, [word for word in ("sleep 301", "sleep 302") if word in left]],
    "events": len(seen),
    "when": [begun, time.time()],
}))
"""


def test_the_agent_and_dockers_own_client_agree_on_an_engine(
    cloud: World, pair: list[str], tmp_path: Path
) -> None:
    run = (
        "docker run -d --label com.docker.compose.project=judged"
        " --label com.docker.compose.oneoff={} --label com.docker.compose.service={}"
        " {} graphistry-standin-base:1 {}"
    )
    health = "--health-cmd true --health-interval 60s --health-start-period 60s"
    running = cloud.shell(pair[1], run.format("False", "runs", health, "sleep 300"))
    others = [
        cloud.shell(pair[1], run.format("False", "ends", "", "sh -c 'exit 3'")),
        cloud.shell(pair[1], run.format("False", "machine", "--network host", "sleep 300")),
        cloud.shell(pair[1], run.format("True", "once", "", "sleep 300")),
    ]
    archive = build_archive(tmp_path)
    assert cloud.docker("cp", str(archive), f"{pair[1]}:/root/agent.pyz").returncode == 0
    # Of the machine's own engine, whose socket is a file there.
    path = f"/proc/{cloud.inspect(pair[1])['Pid']}/root/run/docker.sock"
    with closing(docker.DockerClient(f"unix://{path}")) as client:
        until(lambda: client.containers.get(others[0]).status == "exited", "the job ends")
        expected = engine_judge.containers(client, "judged")
        done = cloud.docker("exec", pair[1], "python3", "-c", ASKED)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        allowed = {each["service"]: each["allowed"] for each in found["containers"]}
        assert allowed == {"runs": 240, "ends": 0, "machine": 0}
        own = sorted(found["containers"], key=lambda each: str(each["identifier"]))
        assert [engine_judge.agents(each) for each in own] == expected
        assert {each["service"]: each["exit_code"] for each in expected}["ends"] == 3
        script = "echo out; echo err >&2; exit 3"
        answer = client.containers.get(running).exec_run(["sh", "-c", script], demux=True)
        assert found["executed"] == [answer[0], *(each.decode() for each in answer[1])]
        assert found["hung"] == [124, []]  # with its child
        begun, ended = found["when"]
        told = client.events(since=begun, until=ended, decode=True, filters={"type": "container"})
        actions = [each["Action"] for each in told if each["id"] == running]
        assert {"die", "start"} < set(actions)
        assert found["events"] == sum(each in EVENTS for each in actions), actions
    cloud.shell(pair[1], f"docker rm -f {running} {' '.join(others)}")


def test_a_reboot_keeps_address_rules_and_disk(cloud: World) -> None:
    machine = cloud.booted(cloud.run("date >/root/once; date >>/root/log"))
    before = cloud.inspect(machine)["StartedAt"]
    disk = "ls /dev/disk/by-id | grep Instance_Storage"
    name = until(lambda: cloud.ask(machine, disk).stdout, "the local disk")
    cloud.ask(machine, "systemctl reboot")
    until(
        lambda: (
            cloud.inspect(machine).get("StartedAt") != before
            and cloud.inspect(machine).get("Running")
        ),
        "the machine starts again",
    )
    until(lambda: cloud.succeeds(machine, "systemctl is-system-running --wait"), "it is up")
    assert cloud.shell(machine, ADDRESSES) == address(cloud, machine)
    assert cloud.shell(machine, "wc -l </root/log") == "1"  # user data runs once
    until(lambda: cloud.ask(machine, disk).stdout == name, "disk is back")


def test_stop_and_start_and_a_killed_container(cloud: World) -> None:
    machine = cloud.booted(cloud.run("date >/root/once"))
    cloud.client("ec2").stop_instances(InstanceIds=[machine])
    until(lambda: cloud.inspect(machine).get("Running") is False, "it stops")
    time.sleep(2)
    assert cloud.inspect(machine)["Running"] is False
    cloud.client("ec2").start_instances(InstanceIds=[machine])
    until(lambda: cloud.inspect(machine).get("Running"), "it starts again")
    assert cloud.shell(machine, "test -f /root/once && echo kept") == "kept"
    cloud.docker("kill", machine)
    until(lambda: cloud.inspect(machine).get("Running"), "a killed machine starts again")


@pytest.mark.parametrize("end", ["killed", "unhealthy"])
def test_a_group_replaces_its_machine(cloud: World, end: str) -> None:
    launch_group(cloud, end, "echo follower")
    first = cloud.booted(member(cloud, end))
    assert cloud.shell(first, "cat /etc/graphistry-sandbox/machine.json | grep -c Tesla") == "1"
    if end == "killed":
        cloud.docker("kill", first)
    else:
        health = {"InstanceId": first, "HealthStatus": "Unhealthy"}
        cloud.client("autoscaling").set_instance_health(**health)
    second = until(lambda: member(cloud, end) not in ("", first) and member(cloud, end), "another")
    until(lambda: not cloud.inspect(first), "the first is gone")
    cloud.booted(second)
    script = f'eval "$(systemctl show-environment)"; {TOKEN}; {ASK}; '
    assert "node" in cloud.shell(second, f"{script} ask meta-data/iam/security-credentials/")
    cloud.client("autoscaling").delete_auto_scaling_group(
        AutoScalingGroupName=end, ForceDelete=True
    )
    until(lambda: not cloud.inspect(second), "the group's machine ends with it")


def grow(cloud: World, machine: str, volume: str) -> None:
    """Enlarge a volume of 2 GiB that a machine has at /mnt, and let the agent look at it before and after."""
    assert cloud.docker("cp", str(build_archive()), f"{machine}:/root/agent.pyz").returncode == 0
    follow = "\n".join(
        (
            "import sys; sys.path.insert(0, '/root/agent.pyz')",
            "from agent.machine import disk_growth",
            "print(disk_growth._follow('/mnt'))",
        )
    )
    size = "df --block-size=1M --output=size /mnt | tail -1"
    assert cloud.shell(machine, f'python3 -c "{follow}"') == "None"
    assert int(cloud.shell(machine, size)) < 2048
    cloud.client("ec2").modify_volume(VolumeId=volume, Size=3)
    disk = "cat /sys/dev/block/$(mountpoint -d /mnt)/size"
    until(lambda: cloud.shell(machine, disk) == str(3 * 2**21), "the disk grows under its machine")
    said = cloud.shell(machine, f'python3 -c "{follow}"')
    if "SYS_RESOURCE" in container._CAPABILITIES:
        assert said.endswith("None")
        assert int(cloud.shell(machine, size)) > 2500
    else:
        denied = "resize2fs: Permission denied to resize filesystem"
        assert f"the file system at /mnt does not grow to its disk: {denied}" in said


def test_a_volume_grows_and_outlives_its_machine(cloud: World) -> None:
    ec2 = cloud.client("ec2")
    interface = ec2.create_network_interface(SubnetId=cloud.subnets[0], Groups=[cloud.group])
    nic = interface["NetworkInterface"]["NetworkInterfaceId"]
    volume = ec2.create_volume(AvailabilityZone=ZONES[0], Size=2)["VolumeId"]
    node = f"/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{volume.replace('-', '')}"
    seen = []
    for script in (
        f"mkfs.ext4 -q {node} && mount {node} /mnt && echo data >/mnt/file && sync",
        f"mount {node} /mnt && cat /mnt/file",
    ):
        nics: list[Any] = [{"DeviceIndex": 0, "NetworkInterfaceId": nic}]
        machine = cloud.booted(cloud.run(NetworkInterfaces=nics))
        seen.append(address(cloud, machine))
        ec2.attach_volume(Device="/dev/sdf", InstanceId=machine, VolumeId=volume)
        until(partial(cloud.succeeds, machine, f"test -b {node}"), "the disk")
        output = cloud.shell(machine, script)
        if output == "data":
            grow(cloud, machine, volume)
        ec2.stop_instances(InstanceIds=[machine])
        ec2.detach_volume(VolumeId=volume, InstanceId=machine)
        ec2.terminate_instances(InstanceIds=[machine])
        until(partial(cloud.gone, machine), "the machine is gone")
    assert output == "data"
    assert seen[0] == seen[1]
    ec2.delete_volume(VolumeId=volume)
    file = cloud.sandbox.directory / "machines" / "volumes" / f"{volume}.img"
    until(lambda: not file.exists(), "the bytes go with the volume")


def test_run_command_really_runs(cloud: World, pair: list[str]) -> None:
    ssm = cloud.client("ssm")

    def invoke(*commands: str) -> dict[str, Any]:
        sent = ssm.send_command(
            DocumentName="AWS-RunShellScript",
            InstanceIds=[pair[0]],
            Parameters={"commands": list(commands)},
        )["Command"]
        assert sent["Status"] in ("Pending", "InProgress")
        named = {"CommandId": sent["CommandId"], "InstanceId": pair[0]}

        def ended() -> dict[str, Any] | None:
            invocation = dict(ssm.get_command_invocation(**named))
            return None if invocation["Status"] in ("Pending", "InProgress") else invocation

        return dict(until(ended, "the command ends"))

    done = invoke("cd /srv", "pwd; whoami")
    assert (done["Status"], done["ResponseCode"]) == ("Success", 0)
    assert done["StandardOutputContent"].split() == ["/srv", "root"]
    done = invoke("echo bad >&2; exit 3")
    assert (done["Status"], done["ResponseCode"]) == ("Failed", 3)
    assert done["StandardErrorContent"] == "bad\n"
    assert len(invoke("yes | head -c 50000")["StandardOutputContent"]) == 24_000
    with pytest.raises(ClientError, match="InvalidInstanceId"):
        ssm.send_command(DocumentName="AWS-RunShellScript", InstanceIds=["i-0123456789abcdef0"])


def test_a_file_system_is_mounted_by_name_from_every_zone(cloud: World, pair: list[str]) -> None:
    efs = cloud.client("efs")
    folder = group(cloud, "folder")
    allow(cloud, folder, 2049, cloud.group)
    system = efs.create_file_system(CreationToken="folder")["FileSystemId"]
    for subnet in cloud.subnets:
        efs.create_mount_target(FileSystemId=system, SubnetId=subnet, SecurityGroups=[folder])
    targets = efs.describe_mount_targets(FileSystemId=system)["MountTargets"]
    for target in targets:
        until(partial(cloud.inspect, target["MountTargetId"]), "the file server")
    name = f"{system}.efs.us-east-1.amazonaws.com"
    own = next(each for each in targets if each["AvailabilityZoneName"] == ZONES[0])
    assert cloud.shell(pair[0], f"getent hosts {name}").split()[0] == own["IpAddress"]
    mount = f"mkdir -p /mnt/s && mount -t efs -o tls,iam {system}:/ /mnt/s"
    until(lambda: cloud.succeeds(pair[0], mount), "the folder is mounted")
    other = next(each for each in targets if each != own)
    cloud.shell(pair[1], mount.replace("iam", f"iam,mounttargetip={other['IpAddress']}"))
    cloud.shell(pair[0], "echo shared >/mnt/s/file")
    assert cloud.shell(pair[1], "cat /mnt/s/file") == "shared"
    stranger = cloud.booted(cloud.run(group=cloud.stranger))
    refused = f"timeout 10 {mount.replace('&&', ';')}"
    assert not cloud.succeeds(stranger, refused)
    cloud.shell(pair[1], "umount -l /mnt/s")
    cloud.shell(pair[0], "umount -l /mnt/s")


def test_a_private_zone_answers(cloud: World, pair: list[str]) -> None:
    route53 = cloud.client("route53")
    zone = route53.create_hosted_zone(
        Name="cluster.internal",
        CallerReference="zone",
        VPC={"VPCRegion": "us-east-1", "VPCId": cloud.vpc},
        HostedZoneConfig={"PrivateZone": True},
    )["HostedZone"]["Id"]
    record = {
        "Name": "leader.cluster.internal",
        "Type": "A",
        "TTL": 10,
        "ResourceRecords": [{"Value": "10.40.0.99"}],
    }
    route53.change_resource_record_sets(
        HostedZoneId=zone,
        ChangeBatch={"Changes": [{"Action": "UPSERT", "ResourceRecordSet": record}]},
    )
    until(
        lambda: (
            cloud.ask(pair[0], "getent hosts leader.cluster.internal").stdout.split()[:1]
            == ["10.40.0.99"]
        ),
        "the name is known",
    )
    assert not cloud.succeeds(pair[0], "getent hosts other.cluster.internal")


def test_a_secret_is_written_once(cloud: World) -> None:
    secrets = cloud.client("secretsmanager")
    secret = secrets.create_secret(Name="once")["ARN"]
    token = "9b2d1c7e-0000-4000-8000-000000000001"
    first = secrets.put_secret_value(SecretId=secret, SecretString="a", ClientRequestToken=token)
    again = secrets.put_secret_value(SecretId=secret, SecretString="a", ClientRequestToken=token)
    assert first["VersionId"] == again["VersionId"] == token
    with pytest.raises(ClientError, match="ResourceExistsException"):
        secrets.put_secret_value(SecretId=secret, SecretString="b", ClientRequestToken=token)
    assert secrets.get_secret_value(SecretId=secret)["SecretString"] == "a"


def test_a_boot_that_is_not_possible_says_why(cloud: World) -> None:
    ec2 = cloud.client("ec2")
    twin = ec2.create_vpc(CidrBlock="10.40.0.0/16")["Vpc"]["VpcId"]
    block = {"VpcId": twin, "CidrBlock": "10.40.5.0/24", "AvailabilityZone": ZONES[0]}
    subnet = ec2.create_subnet(**block)["Subnet"]["SubnetId"]
    machine = cloud.run(
        NetworkInterfaces=[{"DeviceIndex": 0, "SubnetId": subnet}],
    )
    until(lambda: "cannot be made" in cloud.console(machine), "the reason is in the console's log")
    assert "different blocks" in ec2.get_console_output(InstanceId=machine)["Output"]
    ec2.terminate_instances(InstanceIds=[machine])


def test_a_network_can_be_made_again_after_its_end(cloud: World) -> None:
    ec2 = cloud.client("ec2")
    for _ in range(2):
        vpc = ec2.create_vpc(CidrBlock="10.41.0.0/16")["Vpc"]["VpcId"]
        block = {"VpcId": vpc, "CidrBlock": "10.41.0.0/24", "AvailabilityZone": ZONES[0]}
        subnet = ec2.create_subnet(**block)["Subnet"]["SubnetId"]
        nics: list[Any] = [{"DeviceIndex": 0, "SubnetId": subnet}]
        machine = cloud.booted(cloud.run(NetworkInterfaces=nics))
        assert address(cloud, machine).startswith("10.41.0.")
        ec2.terminate_instances(InstanceIds=[machine])
        ec2.delete_subnet(SubnetId=subnet)
        ec2.delete_vpc(VpcId=vpc)
