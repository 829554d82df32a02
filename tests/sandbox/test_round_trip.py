"""Every modelled type: created, read back without a difference, imported, changed, deleted."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace as World
from typing import Any

import pytest

from sandbox.provider import compare, moto_gaps
from sandbox.provider.resources import TYPES
from tests.sandbox.engine import Engine

Inputs = dict[str, Any]
NONE = 1
SOME = 2

POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject"}]}


def policy(resource: str, action: str = "s3:GetObject", principal: bool = True) -> str:
    statement: Inputs = {"Effect": "Allow", "Action": action, "Resource": resource}
    if principal:
        statement["Principal"] = "*"
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, indent=2)


def notification(kind: str, *addresses: str) -> Inputs:
    return {
        "notificationType": kind,
        "comparisonOperator": "GREATER_THAN",
        "threshold": 80,
        "thresholdType": "PERCENTAGE",
        "subscriberEmailAddresses": list(addresses),
    }


def snapshots(hours: int, days: int) -> Inputs:
    return {
        "name": "data",
        "copyTags": True,
        "createRule": {"interval": hours, "intervalUnit": "HOURS", "times": "03:00"},
        "retainRule": {"interval": days, "intervalUnit": "DAYS"},
    }


def rule_case(world: World) -> tuple[Inputs, Inputs]:
    rule = {
        "securityGroupId": world.groups[0],
        "description": "from the second",
        "ipProtocol": "tcp",
        "fromPort": 5432,
        "toPort": 5432,
        "referencedSecurityGroupId": world.groups[1],
        "tags": {"a": "1"},
    }
    change = {"fromPort": 6379, "toPort": 6380, "description": "Redis", "tags": {"b": "2"}}
    return rule, change


def instance_case(world: World) -> tuple[Inputs, Inputs]:
    instance = {
        "ami": world.image,
        "instanceType": "g5.xlarge",
        "subnetId": world.subnets[0],
        "availabilityZone": "us-east-1a",
        "vpcSecurityGroupIds": list(world.groups),
        "iamInstanceProfile": world.profile,
        "userData": "#!/bin/sh\necho hello\n",
        "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 2},
        "rootBlockDevice": {
            "volumeType": "gp3",
            "volumeSize": 100,
            "iops": 4000,
            "throughput": 250,
            "encrypted": True,
            "tags": {"Name": "root"},
        },
        "ebsOptimized": True,
        "monitoring": True,
        "maintenanceOptions": {"autoRecovery": "default"},
        "capacityReservationSpecification": {
            "capacityReservationTarget": {"capacityReservationId": world.reservation()}
        },
        "instanceInitiatedShutdownBehavior": "terminate",
        "tags": {"Name": "leader"},
    }
    change = {
        "instanceType": "g5.2xlarge",
        "vpcSecurityGroupIds": world.groups[:1],
        "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 1},
        "rootBlockDevice": {**instance["rootBlockDevice"], "volumeSize": 200, "throughput": 500},
        "monitoring": False,
        "instanceInitiatedShutdownBehavior": "stop",
        "tags": {"Name": "leader", "more": "x"},
    }
    return instance, change


def template_case(world: World) -> tuple[Inputs, Inputs]:
    template = {
        "name": "follower",
        "description": "first",
        "imageId": world.image,
        "instanceType": "g5.xlarge",
        "iamInstanceProfile": {"arn": world.profile_arn},
        "userData": "IyEvYmluL3NoCg==",
        "instanceMarketOptions": {"marketType": "capacity-block"},
        "capacityReservationSpecification": {
            "capacityReservationTarget": {"capacityReservationId": world.reservation()}
        },
        "metadataOptions": {"httpTokens": "required", "httpEndpoint": "enabled"},
        "blockDeviceMappings": [
            {
                "deviceName": "/dev/sda1",
                "ebs": {
                    "volumeSize": 100,
                    "volumeType": "gp3",
                    "iops": 3000,
                    "throughput": 125,
                    "encrypted": "true",
                    "deleteOnTermination": "true",
                },
            }
        ],
        "networkInterfaces": [
            {
                "associatePublicIpAddress": "false",
                "securityGroups": list(world.groups),
                "deleteOnTermination": "true",
                "deviceIndex": 0,
            }
        ],
        "tagSpecifications": [{"resourceType": "instance", "tags": {"Name": "follower"}}],
        "ebsOptimized": "true",
        "monitoring": {"enabled": True},
        "updateDefaultVersion": True,
        "instanceInitiatedShutdownBehavior": "terminate",
        "tags": {"a": "1"},
    }
    return template, {"userData": "IyEvYmluL2Jhc2gK", "description": "second", "tags": {"b": "2"}}


def lifecycle_case(world: World) -> tuple[Inputs, Inputs]:
    rule = {
        "id": "old",
        "status": "Enabled",
        "filter": {"prefix": "reports/"},
        "expiration": {"days": 30},
        "noncurrentVersionExpiration": {"noncurrentDays": 7},
        "abortIncompleteMultipartUpload": {"daysAfterInitiation": 1},
    }
    changed = {"rules": [{**rule, "expiration": {"days": 60}}]}
    return {"bucket": world.bucket, "rules": [rule]}, changed


def simple(inputs: Inputs, change: Inputs | None = None) -> Callable[[World], tuple[Inputs, Any]]:
    return lambda world: (inputs, change or {})


TAGS = {"tags": {"a": "1"}}
RETAGGED = {"tags": {"a": "2", "b": "3"}}
_SSE = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"

CASES: dict[str, Callable[[World], tuple[Inputs, Inputs]]] = {
    "aws:ec2/vpc:Vpc": simple(
        {"cidrBlock": "10.1.0.0/16", "enableDnsHostnames": True, **TAGS},
        {"enableDnsHostnames": False, **RETAGGED},
    ),
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": lambda world: (
        {"vpcId": world.vpc, **TAGS},
        RETAGGED,
    ),
    "aws:ec2/subnet:Subnet": lambda world: (
        {
            "vpcId": world.vpc,
            "cidrBlock": "10.0.9.0/24",
            "availabilityZone": "us-east-1c",
            "mapPublicIpOnLaunch": True,
            **TAGS,
        },
        {"mapPublicIpOnLaunch": False, **RETAGGED},
    ),
    "aws:ec2/internetGateway:InternetGateway": lambda world: (
        {"vpcId": world.vpc, **TAGS},
        RETAGGED,
    ),
    "aws:ec2/eip:Eip": simple({"domain": "vpc", **TAGS}, RETAGGED),
    "aws:ec2/natGateway:NatGateway": lambda world: (
        {"subnetId": world.subnets[0], "allocationId": world.address(), **TAGS},
        RETAGGED,
    ),
    "aws:ec2/routeTable:RouteTable": lambda world: (
        {
            "vpcId": world.vpc,
            "routes": [{"cidrBlock": "0.0.0.0/0", "gatewayId": world.gateway()}],
            **TAGS,
        },
        {"routes": [], **RETAGGED},
    ),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": lambda world: (
        {"subnetId": world.subnets[0], "routeTableId": world.route_table()},
        {},
    ),
    "aws:ec2/vpcEndpoint:VpcEndpoint": lambda world: (
        {
            "vpcId": world.vpc,
            "serviceName": "com.amazonaws.us-east-1.s3",
            "routeTableIds": [world.route_table()],
            "policy": policy("*"),
            **TAGS,
        },
        {"policy": policy("*", "s3:*"), "routeTableIds": [], **RETAGGED},
    ),
    "aws:ec2/flowLog:FlowLog": lambda world: (
        {
            "vpcId": world.vpc,
            "trafficType": "REJECT",
            "logDestinationType": "s3",
            "logDestination": f"arn:aws:s3:::{world.bucket}",
            "maxAggregationInterval": 60,
            **TAGS,
        },
        RETAGGED,
    ),
    "aws:ec2/securityGroup:SecurityGroup": lambda world: (
        {"vpcId": world.vpc, "name": "group", "description": "a group", **TAGS},
        RETAGGED,
    ),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": rule_case,
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": lambda world: (
        {"securityGroupId": world.groups[0], "ipProtocol": "-1", "cidrIpv4": "0.0.0.0/0"},
        {"description": "anywhere", **RETAGGED},
    ),
    "aws:ec2/networkInterface:NetworkInterface": lambda world: (
        {
            "subnetId": world.subnets[0],
            "securityGroups": list(world.groups),
            "description": "the leader's address",
            "privateIps": ["10.0.0.77"],
            **TAGS,
        },
        {"securityGroups": world.groups[:1], "description": "changed", **RETAGGED},
    ),
    "aws:ebs/volume:Volume": simple(
        {
            "availabilityZone": "us-east-1a",
            "size": 100,
            "type": "gp3",
            "iops": 3500,
            "throughput": 200,
            "encrypted": True,
            "finalSnapshot": True,
            **TAGS,
        },
        {"size": 200, "throughput": 300, **RETAGGED},
    ),
    "aws:dlm/lifecyclePolicy:LifecyclePolicy": lambda world: (
        {
            "description": "data",
            "executionRoleArn": world.snapshot_role(),
            "policyDetails": {
                "resourceTypes": ["VOLUME"],
                "targetTags": {"graphistry-cluster:backups": "a/b"},
                "schedules": [snapshots(24, 35)],
            },
            **TAGS,
        },
        {
            "state": "DISABLED",
            "policyDetails": {
                "resourceTypes": ["VOLUME"],
                "targetTags": {"graphistry-cluster:backups": "a/b/0123456789ab"},
                "schedules": [snapshots(6, 7)],
            },
            **RETAGGED,
        },
    ),
    "aws:ec2/instance:Instance": instance_case,
    "aws:ec2/volumeAttachment:VolumeAttachment": lambda world: (
        {
            "deviceName": "/dev/sdf",
            "instanceId": world.instance(),
            "volumeId": world.volume(),
            "stopInstanceBeforeDetaching": True,
        },
        {"stopInstanceBeforeDetaching": False},
    ),
    "aws:ec2/capacityReservation:CapacityReservation": simple(
        {
            "instanceType": "g5.xlarge",
            "instancePlatform": "Linux/UNIX",
            "availabilityZone": "us-east-1a",
            "instanceCount": 1,
            "instanceMatchCriteria": "open",
            "ebsOptimized": True,
            **TAGS,
        },
        RETAGGED,
    ),
    "aws:ec2/launchTemplate:LaunchTemplate": template_case,
    "aws:autoscaling/group:Group": lambda world: (
        {
            "name": "follower",
            "minSize": 1,
            "maxSize": 1,
            "desiredCapacity": 1,
            "vpcZoneIdentifiers": list(world.subnets),
            "mixedInstancesPolicy": {
                "launchTemplate": {
                    "launchTemplateSpecification": {
                        "launchTemplateId": world.template(),
                        "version": "1",
                    },
                    "overrides": [{"instanceType": "g5.xlarge"}, {"instanceType": "g6.xlarge"}],
                },
                "instancesDistribution": {
                    "onDemandBaseCapacity": 0,
                    "onDemandPercentageAboveBaseCapacity": 100,
                    "onDemandAllocationStrategy": "prioritized",
                    "spotAllocationStrategy": "capacity-optimized",
                },
            },
            "healthCheckType": "EC2",
            "healthCheckGracePeriod": 60,
            "waitForCapacityTimeout": "0",
            "capacityRebalance": True,
            "defaultInstanceWarmup": 30,
            "forceDelete": True,
            "protectFromScaleIn": True,
            "capacityReservationSpecification": {
                "capacityReservationPreference": "capacity-reservations-first",
                "capacityReservationTarget": {"capacityReservationIds": [world.reservation()]},
            },
            "terminationPolicies": ["OldestInstance"],
            "tags": [{"key": "a", "value": "1", "propagateAtLaunch": True}],
        },
        {
            "maxSize": 2,
            "capacityRebalance": False,
            "healthCheckGracePeriod": 90,
            "tags": [{"key": "b", "value": "2", "propagateAtLaunch": False}],
        },
    ),
    "aws:efs/fileSystem:FileSystem": simple(
        {
            "creationToken": "token",
            "encrypted": True,
            "throughputMode": "elastic",
            "performanceMode": "generalPurpose",
            "lifecyclePolicies": [
                {"transitionToIa": "AFTER_30_DAYS"},
                {"transitionToPrimaryStorageClass": "AFTER_1_ACCESS"},
            ],
            **TAGS,
        },
        {
            "throughputMode": "provisioned",
            "provisionedThroughputInMibps": 128,
            "lifecyclePolicies": [{"transitionToIa": "AFTER_7_DAYS"}],
            **RETAGGED,
        },
    ),
    "aws:efs/mountTarget:MountTarget": lambda world: (
        {
            "fileSystemId": world.file_system,
            "subnetId": world.subnets[0],
            "securityGroups": world.groups[:1],
        },
        {"securityGroups": world.groups[1:]},
    ),
    "aws:efs/fileSystemPolicy:FileSystemPolicy": lambda world: (
        {
            "fileSystemId": world.file_system,
            "policy": policy("*", "elasticfilesystem:ClientMount"),
            "bypassPolicyLockoutSafetyCheck": True,
        },
        {"policy": policy("*", "elasticfilesystem:ClientWrite")},
    ),
    "aws:efs/backupPolicy:BackupPolicy": lambda world: (
        {"fileSystemId": world.file_system, "backupPolicy": {"status": "ENABLED"}},
        {"backupPolicy": {"status": "DISABLED"}},
    ),
    "aws:s3/bucket:Bucket": simple({"bucket": "a-bucket", "forceDestroy": True, **TAGS}, RETAGGED),
    "aws:s3/bucketVersioning:BucketVersioning": lambda world: (
        {"bucket": world.bucket, "versioningConfiguration": {"status": "Enabled"}},
        {"versioningConfiguration": {"status": "Suspended"}},
    ),
    _SSE: lambda world: (
        {
            "bucket": world.bucket,
            "rules": [
                {
                    "applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"},
                    "bucketKeyEnabled": True,
                }
            ],
        },
        {"rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms"}}]},
    ),
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": lambda world: (
        {"bucket": world.bucket, "blockPublicAcls": True, "blockPublicPolicy": True},
        {"ignorePublicAcls": True, "restrictPublicBuckets": True},
    ),
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": lambda world: (
        {"bucket": world.bucket, "rule": {"objectOwnership": "BucketOwnerEnforced"}},
        {"rule": {"objectOwnership": "BucketOwnerPreferred"}},
    ),
    "aws:s3/bucketPolicy:BucketPolicy": lambda world: (
        {"bucket": world.bucket, "policy": policy(f"arn:aws:s3:::{world.bucket}/*")},
        {"policy": policy(f"arn:aws:s3:::{world.bucket}/*", "s3:PutObject")},
    ),
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": lifecycle_case,
    "aws:s3/bucketObjectv2:BucketObjectv2": lambda world: (
        {
            "bucket": world.bucket,
            "key": "nodes/leader/specification.json",
            "content": '{"role": "leader"}',
            "contentType": "application/json",
            **TAGS,
        },
        {"content": '{"role": "follower"}', **RETAGGED},
    ),
    "aws:secretsmanager/secret:Secret": simple(
        {"name": "secret", "description": "d", "recoveryWindowInDays": 7, **TAGS},
        {"description": "e", **RETAGGED},
    ),
    # Another text is another version.
    "aws:secretsmanager/secretVersion:SecretVersion": lambda world: (
        {"secretId": world.secret, "secretString": "one"},
        {},
    ),
    "aws:secretsmanager/secretPolicy:SecretPolicy": lambda world: (
        {"secretArn": world.secret, "policy": policy("*", "secretsmanager:PutSecretValue")},
        {"policy": policy("*", "secretsmanager:UpdateSecret")},
    ),
    "aws:iam/role:Role": lambda world: (
        {
            "name": "role",
            "path": "/nodes/",
            "description": "d",
            "assumeRolePolicy": json.dumps(world.assume, indent=2),
            "maxSessionDuration": 7200,
            "permissionsBoundary": "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess",
            **TAGS,
        },
        {"description": "e", "maxSessionDuration": 3600, **RETAGGED},
    ),
    "aws:iam/rolePolicy:RolePolicy": lambda world: (
        {"name": "policy", "role": world.role, "policy": policy("*", principal=False)},
        {"policy": policy("*", "s3:PutObject", principal=False)},
    ),
    "aws:iam/instanceProfile:InstanceProfile": lambda world: (
        {"name": "profile", "role": world.role, "path": "/nodes/", **TAGS},
        RETAGGED,
    ),
    "aws:route53/zone:Zone": lambda world: (
        {
            "name": "other.internal",
            "comment": "private",
            "vpcs": [{"vpcId": world.vpc}],
            "forceDestroy": True,
            **TAGS,
        },
        {"comment": "changed", **RETAGGED},
    ),
    "aws:route53/record:Record": lambda world: (
        {
            "zoneId": world.zone,
            "name": "leader.world.internal",
            "type": "A",
            "ttl": 60,
            "records": ["10.0.0.5"],
        },
        {"ttl": 30, "records": ["10.0.0.6", "10.0.0.7"]},
    ),
    "aws:cloudwatch/logGroup:LogGroup": simple(
        {"name": "/nodes", "retentionInDays": 30, **TAGS}, {"retentionInDays": 7, **RETAGGED}
    ),
    "aws:budgets/budget:Budget": simple(
        {
            "name": "budget",
            "budgetType": "COST",
            "timeUnit": "MONTHLY",
            "limitAmount": "100.50",
            "limitUnit": "USD",
            "costFilters": [{"name": "TagKeyValue", "values": ["user:a$1"]}],
            "notifications": [notification("ACTUAL", "one@example.com")],
            **TAGS,
        },
        {
            "limitAmount": "200.00",
            "notifications": [
                notification("FORECASTED", "two@example.com", "one@example.com"),
                notification("ACTUAL", "one@example.com"),
            ],
            **RETAGGED,
        },
    ),
    "aws:cloudwatch/eventRule:EventRule": simple(
        {
            "name": "rule",
            "description": "d",
            "eventPattern": '{"source": ["aws.autoscaling"]}',
            "state": "DISABLED",
            **TAGS,
        },
        {"description": "e", "state": "ENABLED", **RETAGGED},
    ),
    "aws:cloudwatch/eventTarget:EventTarget": lambda world: (
        {
            "rule": world.rule,
            "arn": "arn:aws:logs:us-east-1:123456789012:log-group:/events",
            "targetId": "target",
            "inputTransformer": {
                "inputPaths": {"cause": "$.detail.Cause"},
                "inputTemplate": '"<cause>"',
            },
        },
        {"inputTransformer": {"inputTemplate": '"other"'}},
    ),
    "aws:ssm/document:Document": simple(
        {
            "name": "document",
            "documentType": "Command",
            "documentFormat": "JSON",
            "content": json.dumps({"schemaVersion": "2.2", "description": "d", "mainSteps": []}),
            **TAGS,
        },
        {
            "content": json.dumps({"schemaVersion": "2.2", "description": "e", "mainSteps": []}),
            **RETAGGED,
        },
    ),
}


@pytest.fixture
def supplied(engine: Engine, world: World) -> World:
    """The world with helpers that make what a case needs for itself alone."""

    def template() -> str:
        body = {"imageId": world.image, "instanceType": "g5.xlarge"}
        return engine.create("aws:ec2/launchTemplate:LaunchTemplate", **body).id

    return World(
        **vars(world),
        address=lambda: engine.create("aws:ec2/eip:Eip").id,
        gateway=lambda: engine.create("aws:ec2/internetGateway:InternetGateway").id,
        route_table=lambda: engine.create("aws:ec2/routeTable:RouteTable", vpcId=world.vpc).id,
        volume=lambda: (
            engine.create("aws:ebs/volume:Volume", availabilityZone="us-east-1a", size=1).id
        ),
        instance=lambda: (
            engine.create(
                "aws:ec2/instance:Instance",
                ami=world.image,
                instanceType="g5.xlarge",
                subnetId=world.subnets[0],
            ).id
        ),
        template=template,
        snapshot_role=lambda: engine.create(
            "aws:iam/role:Role", assumeRolePolicy=json.dumps(world.assume).replace("ec2.", "dlm.")
        ).outputs["arn"],
        reservation=lambda: (
            engine.create(
                "aws:ec2/capacityReservation:CapacityReservation",
                instanceType="g5.xlarge",
                instancePlatform="Linux/UNIX",
                availabilityZone="us-east-1a",
                instanceCount=1,
            ).id
        ),
    )


def test_every_type_has_a_case() -> None:
    assert CASES.keys() == TYPES.keys()


@pytest.mark.parametrize("token", CASES)
def test_a_resource_lives_its_whole_life(token: str, engine: Engine, supplied: World) -> None:
    row = TYPES[token]
    inputs, change = CASES[token](supplied)
    made = engine.create(token, **inputs)
    assert engine.diff(made, made.inputs).changes == NONE

    found = engine.read(made)
    assert found is not None
    assert found.inputs == made.inputs
    assert found.outputs == made.outputs

    unseen = {*row.local.split(), *moto_gaps.REMEMBERED.get(token, {}), compare.BOOKKEEPING}
    imported = engine.read(made, imported=True)
    assert imported is not None
    asked = {name: value for name, value in made.inputs.items() if name not in unseen}
    told = compare.normal(row, imported.inputs)
    for name, value in compare.normal(row, asked).items():
        if name not in unseen:
            assert covers(told[name], value), name

    new = engine.checked(token, {**inputs, **change}, made.inputs)
    difference = engine.diff(made, new)
    assert difference.changes == (SOME if change else NONE)
    assert set(difference.diffs) == change.keys()
    assert not difference.replaces
    changed = engine.update(made, **{**inputs, **change})
    after = engine.read(changed)
    assert after is not None
    assert after.inputs == changed.inputs
    assert after.outputs == changed.outputs

    engine.delete(changed)
    if token != "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup":
        gone = engine.read(changed)
        # A secret's current version stays with its secret.
        stays = ("aws:efs/backup", "aws:s3/bucketVersioning", "aws:secretsmanager/secretVersion")
        assert gone is None or token.startswith(stays)
    engine.delete(changed)


def test_a_group_may_launch_from_a_template_alone(engine: Engine, supplied: World) -> None:
    made = engine.create(
        "aws:autoscaling/group:Group",
        name="block",
        minSize=1,
        maxSize=1,
        vpcZoneIdentifiers=supplied.subnets[:1],
        launchTemplate={"id": supplied.template(), "version": "$Default"},
    )
    found = engine.read(made)
    assert found is not None
    assert found.outputs["launchTemplate"]["version"] == "$Default"
    assert engine.diff(made, made.inputs).changes == NONE
    engine.delete(made)


def covers(live: Any, asked: Any) -> bool:
    """Whether a live value says all that was asked for: AWS may say more."""
    if isinstance(live, dict) and isinstance(asked, dict):
        return all(name in live and covers(live[name], item) for name, item in asked.items())
    if isinstance(live, list) and isinstance(asked, list):
        return len(live) == len(asked) and all(map(covers, live, asked))
    return bool(live == asked)
