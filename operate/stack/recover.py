"""After an interrupted deployment: nothing is forgotten, nothing is made twice.

A killed Pulumi leaves operations it never saw the end of (and a lock, see `operate.stack.pulumi_lock`). What such an
operation made exists in AWS but not in the state: the next deployment would make it again, and a GPU machine nobody
knows of is billed until somebody notices. Here each is looked for, by its own name or by the tags it was made with, and
entered into the state. What is not found was not made, and is made by the deployment that follows. The tags name the
state too, as another state may have a cluster of the same name in the same account.

``pulumi refresh --import-pending-creates`` is meant for this, but Pulumi 3.259 with a state in a file drops what it is
told. ``pulumi import`` forgets the inputs and then replaces the machine it has just taken over. So the state is
written by ``pulumi stack export`` and ``import``, with the inputs that the interrupted operation had.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from model.problems import UserError
from model.recorded import recorded
from model.tags import CLUSTER_TAG, GIVEN_UP_TAG, ID_TAG
from operate.stack.deployment import Deployment
from operate.terminal.messages import say

Inputs = Mapping[str, Any]


def recover(deployment: Deployment) -> None:
    """Bring the state of an interrupted deployment up to date; does nothing after a clean one.

    What is taken over has its inputs as outputs until the next refresh. Raises :class:`UserError` where a run
    elsewhere, whose operations look as if they were interrupted, has ended meanwhile: its state would be lost.
    """
    if not deployment.checkpoint().get("pending_operations"):
        return
    deployment.forget()  # what is read here replaces the state: nothing of before the preflight may
    checkpoint = deployment.checkpoint()
    pending = checkpoint.get("pending_operations", [])
    say("the last run was interrupted; looking for what it made")
    aws = Aws(deployment)
    resources = list(checkpoint["resources"])
    for operation in pending:
        resource = operation["resource"]
        if operation["type"] != "creating":
            continue
        # Pulumi leaves out what is empty.
        inputs = resource.get("inputs", {})
        found = aws.find(resource["type"], inputs)
        if found is not None:
            say(f"took over {resource['urn'].rsplit('::', 1)[-1]}: {found}")
            taken_over = {**resource, "id": found, "outputs": inputs}
            resources.append(taken_over)
    # Pulumi's lock is not held meanwhile, and where the state is no file nobody sees it.
    deployment.forget()
    if deployment.checkpoint() != checkpoint:
        raise UserError(
            f"another Pulumi is changing the stack {deployment.stack}, or did so just now; its state was left as it "
            "is. Wait for it to end, and run the same command again"
        )
    rest = {key: value for key, value in checkpoint.items() if key != "pending_operations"}
    deployment.replace_checkpoint({**rest, "resources": resources})


class Aws:
    """Looks in AWS for what an interrupted operation made; the answer is the id that Pulumi knows it by."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        resources = deployment.checkpoint().get("resources", [])
        self._known = {each.get("id") for each in resources}
        # None is for a tag that must not be there: an earlier version's resources have no id.
        self._tags = {
            CLUSTER_TAG: deployment.cluster,
            ID_TAG: recorded(resources).identity or None,
            GIVEN_UP_TAG: None,
        }

    def find(self, resource_type: str, inputs: Inputs) -> str | None:
        """The id of what was made of *inputs*, or ``None`` when nothing was.

        Types that may be put again with the same result (policies, objects, settings of a bucket) are never looked
        for: putting them again is their recovery.
        """
        if resource_type in TAGGED:
            return self._tagged(TAGGED[resource_type], inputs)
        if resource_type in FINDERS:
            service, finder = FINDERS[resource_type]
            try:
                return finder(self._deployment.client(service), {**inputs, "tagsAll": self._tags})
            except ClientError:
                return None
        return None

    def _tagged(self, prefix: str, inputs: Inputs) -> str | None:
        """The EC2 resource that carries this cluster's tag and the ``Name`` of *inputs*, and is in no state yet."""
        ec2 = self._deployment.client("ec2")
        named = _tags_of_ec2(
            ec2,
            {"Name": "key", "Values": ["Name"]},
            {"Name": "value", "Values": [inputs["tags"]["Name"]]},
        )
        tagged = _tags_of_ec2(
            ec2,
            {"Name": "resource-id", "Values": [each for each in named if each.startswith(prefix)]},
        )
        candidates = {each for each, tags in tagged.items() if _has(tags, self._tags)} - self._known
        # Tags outlive a terminated instance and a deleted gateway by an hour.
        if prefix == "i-" and candidates:
            candidates = _live_instances(ec2, candidates)
        if prefix == "nat-" and candidates:
            candidates = _live_gateways(ec2, candidates)
        if prefix == "cr-" and candidates:
            candidates = _live_reservations(ec2, candidates)
        return min(candidates, default=None)


def _has(tags: Mapping[str, str], wanted: Mapping[str, str | None]) -> bool:
    return all(tags.get(key) == value for key, value in wanted.items())


def _tags_of_ec2(ec2: Any, *filters: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Id of each resource to those of its tags that pass the *filters*; none, and no call, for an empty filter."""
    found: dict[str, dict[str, str]] = {}
    if not all(each["Values"] for each in filters):
        return found
    for page in ec2.get_paginator("describe_tags").paginate(Filters=list(filters)):
        for tag in page["Tags"]:
            found.setdefault(tag["ResourceId"], {})[tag["Key"]] = tag["Value"]
    return found


def _live_instances(ec2: Any, candidates: set[str]) -> set[str]:
    reservations = ec2.describe_instances(InstanceIds=sorted(candidates))["Reservations"]
    return {
        instance["InstanceId"]
        for reservation in reservations
        for instance in reservation["Instances"]
        if instance["State"]["Name"] not in ("shutting-down", "terminated")
    }


def _live_gateways(ec2: Any, candidates: set[str]) -> set[str]:
    gateways = ec2.describe_nat_gateways(NatGatewayIds=sorted(candidates))["NatGateways"]
    return {each["NatGatewayId"] for each in gateways if each["State"] in ("pending", "available")}


def _live_reservations(ec2: Any, candidates: set[str]) -> set[str]:
    found = ec2.describe_capacity_reservations(CapacityReservationIds=sorted(candidates))
    reservations = found["CapacityReservations"]
    return {each["CapacityReservationId"] for each in reservations if each["State"] == "active"}


def _bucket(s3: Any, inputs: Inputs) -> str:
    s3.head_bucket(Bucket=inputs["bucket"])
    return str(inputs["bucket"])


def _role(iam: Any, inputs: Inputs) -> str:
    return str(iam.get_role(RoleName=inputs["name"])["Role"]["RoleName"])


def _instance_profile(iam: Any, inputs: Inputs) -> str:
    found = iam.get_instance_profile(InstanceProfileName=inputs["name"])
    return str(found["InstanceProfile"]["InstanceProfileName"])


def _group(autoscaling: Any, inputs: Inputs) -> str | None:
    found = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[inputs["name"]])
    return next((each["AutoScalingGroupName"] for each in found["AutoScalingGroups"]), None)


def _secret(secretsmanager: Any, inputs: Inputs) -> str:
    return str(secretsmanager.describe_secret(SecretId=inputs["name"])["ARN"])


def _log_group(logs: Any, inputs: Inputs) -> str | None:
    found = logs.describe_log_groups(logGroupNamePrefix=inputs["name"])["logGroups"]
    return next(
        (each["logGroupName"] for each in found if each["logGroupName"] == inputs["name"]), None
    )


def _document(ssm: Any, inputs: Inputs) -> str:
    return str(ssm.describe_document(Name=inputs["name"])["Document"]["Name"])


def _file_system(efs: Any, inputs: Inputs) -> str | None:
    for page in efs.get_paginator("describe_file_systems").paginate():
        for each in page["FileSystems"]:
            tags = {tag["Key"]: tag["Value"] for tag in each["Tags"]}
            if _has(tags, {**inputs["tags"], **inputs["tagsAll"]}):
                return str(each["FileSystemId"])
    return None


def _snapshot_policy(dlm: Any, inputs: Inputs) -> str | None:
    wanted = inputs["policyDetails"]["targetTags"]
    targets = [f"{key}={value}" for key, value in wanted.items()]
    found = dlm.get_lifecycle_policies(TargetTags=targets)["Policies"]
    ours = (each for each in found if _has(each.get("Tags", {}), inputs["tagsAll"]))
    return next((str(each["PolicyId"]) for each in ours), None)


def _mount_target(efs: Any, inputs: Inputs) -> str | None:
    found = efs.describe_mount_targets(FileSystemId=inputs["fileSystemId"])["MountTargets"]
    return next(
        (each["MountTargetId"] for each in found if each["SubnetId"] == inputs["subnetId"]), None
    )


def _zone(route53: Any, inputs: Inputs) -> str | None:
    vpcs = {each["vpcId"] for each in inputs["vpcs"]}
    for page in route53.get_paginator("list_hosted_zones").paginate():
        for each in page["HostedZones"]:
            if each["Name"].rstrip(".") == inputs["name"]:
                associated = route53.get_hosted_zone(Id=each["Id"])["VPCs"]
                if vpcs & {vpc["VPCId"] for vpc in associated}:
                    return str(each["Id"]).rsplit("/", 1)[-1]
    return None


def _record(route53: Any, inputs: Inputs) -> str | None:
    found = route53.list_resource_record_sets(
        HostedZoneId=inputs["zoneId"],
        StartRecordName=inputs["name"],
        StartRecordType=inputs["type"],
        MaxItems="1",
    )["ResourceRecordSets"]
    if any(each["Name"].rstrip(".") == inputs["name"] for each in found):
        return f"{inputs['zoneId']}_{inputs['name']}_{inputs['type']}"
    return None


def _route_table_association(ec2: Any, inputs: Inputs) -> str | None:
    tables = ec2.describe_route_tables(RouteTableIds=[inputs["routeTableId"]])["RouteTables"]
    associations = [each for table in tables for each in table["Associations"]]
    return next(
        (
            each["RouteTableAssociationId"]
            for each in associations
            if each.get("SubnetId") == inputs["subnetId"]
        ),
        None,
    )


def _volume_attachment(ec2: Any, inputs: Inputs) -> str | None:
    volumes = ec2.describe_volumes(VolumeIds=[inputs["volumeId"]])["Volumes"]
    attached = {each["InstanceId"] for volume in volumes for each in volume["Attachments"]}
    if inputs["instanceId"] in attached:
        return f"{inputs['deviceName']}:{inputs['volumeId']}:{inputs['instanceId']}"
    return None


TAGGED = {
    "aws:ec2/vpc:Vpc": "vpc-",
    "aws:ec2/subnet:Subnet": "subnet-",
    "aws:ec2/internetGateway:InternetGateway": "igw-",
    "aws:ec2/eip:Eip": "eipalloc-",
    "aws:ec2/natGateway:NatGateway": "nat-",
    "aws:ec2/routeTable:RouteTable": "rtb-",
    "aws:ec2/vpcEndpoint:VpcEndpoint": "vpce-",
    "aws:ec2/flowLog:FlowLog": "fl-",
    "aws:ec2/securityGroup:SecurityGroup": "sg-",
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": "sgr-",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": "sgr-",
    "aws:ec2/networkInterface:NetworkInterface": "eni-",
    "aws:ebs/volume:Volume": "vol-",
    "aws:ec2/instance:Instance": "i-",
    "aws:ec2/launchTemplate:LaunchTemplate": "lt-",
    "aws:ec2/capacityReservation:CapacityReservation": "cr-",
}
"""Pulumi type to what the ids of its kind begin with, for everything that EC2 tags as it makes it."""

Finder = Callable[[Any, Inputs], str | None]

FINDERS: dict[str, tuple[str, Finder]] = {
    "aws:s3/bucket:Bucket": ("s3", _bucket),
    "aws:iam/role:Role": ("iam", _role),
    "aws:iam/instanceProfile:InstanceProfile": ("iam", _instance_profile),
    "aws:autoscaling/group:Group": ("autoscaling", _group),
    "aws:secretsmanager/secret:Secret": ("secretsmanager", _secret),
    "aws:cloudwatch/logGroup:LogGroup": ("logs", _log_group),
    "aws:ssm/document:Document": ("ssm", _document),
    "aws:dlm/lifecyclePolicy:LifecyclePolicy": ("dlm", _snapshot_policy),
    "aws:efs/fileSystem:FileSystem": ("efs", _file_system),
    "aws:efs/mountTarget:MountTarget": ("efs", _mount_target),
    "aws:route53/zone:Zone": ("route53", _zone),
    "aws:route53/record:Record": ("route53", _record),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": ("ec2", _route_table_association),
    "aws:ec2/volumeAttachment:VolumeAttachment": ("ec2", _volume_attachment),
}
"""Pulumi type to the AWS service that is asked, and how. Physical names end in Pulumi's random digits, so a name
that is found is ours."""
