"""What moto does not know of Auto Scaling: machines that AWS replaces by itself after a change of their group.

A machine leaves when it is outside the group's subnets, when it was bought otherwise than the group's percentage of
on-demand now says ("gradual replacement"), or when an instance refresh was started; with skip matching a refresh keeps
the machines of the group's types that were launched from the version of the launch template that is the group's now.
As on AWS the new machine is launched first, and the old one stays as long as that is refused.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

from moto.autoscaling.exceptions import AutoscalingClientError
from moto.autoscaling.models import AutoScalingBackend, FakeAutoScalingGroup, InstanceState
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult

from .capacity import AGAIN_SECONDS

PERCENTAGE = "OnDemandPercentageAboveBaseCapacity"


def mend() -> None:
    """Let groups replace machines; call it once, before moto serves and after what refuses launches."""
    launch = FakeAutoScalingGroup.replace_autoscaling_group_instances
    update = AutoScalingBackend.update_auto_scaling_group
    describe = AutoScalingBackend.describe_auto_scaling_groups

    def launch_and_note(group: Any, count: int, tags: dict[str, str]) -> None:
        before = list(group.instance_states)
        launch(group, count, tags)
        for state in group.instance_states:
            if state not in before:
                state.template_version = _template_version(group)
                state.instance.lifecycle = "spot" if wants_spot(group) else None

    def update_and_replace(backend: Any, name: str, **asked: Any) -> Any:
        group = backend.autoscaling_groups.get(name)
        if group is not None:
            asked["mixed_instances_policy"] = _merged(group, asked)
        done = update(backend, name, **asked)
        _replace(done)
        return done

    def describe_and_replace(backend: Any, *arguments: Any, **named: Any) -> Any:
        for group in backend.autoscaling_groups.values():
            if time.monotonic() - getattr(group, "refused_at", 0.0) > AGAIN_SECONDS:
                _replace(group)
        return describe(backend, *arguments, **named)

    FakeAutoScalingGroup.replace_autoscaling_group_instances = launch_and_note
    AutoScalingBackend.update_auto_scaling_group = update_and_replace
    AutoScalingBackend.describe_auto_scaling_groups = describe_and_replace
    AutoScalingResponse.start_instance_refresh = _refresh
    InstanceState.launch_template = property(_launched_from)


def wants_spot(group: Any) -> bool:
    """Whether the next machine of a group of one is spot."""
    distribution = (group.mixed_instances_policy or {}).get("InstancesDistribution", {})
    return int(distribution.get(PERCENTAGE, 100)) == 0


def _merged(group: Any, asked: dict[str, Any]) -> dict[str, Any] | None:
    """The policy after an update: AWS leaves as it is what a request does not name, where moto forgets it."""
    if asked.get("launch_template"):
        return None
    before, wanted = (
        each or {} for each in (group.mixed_instances_policy, asked.get("mixed_instances_policy"))
    )
    if not (before or wanted):
        return None
    template = {**(wanted.get("LaunchTemplate") or before["LaunchTemplate"])}
    specification = template["LaunchTemplateSpecification"]
    if "LaunchTemplateId" in specification:  # moto answers with id and name, and takes one of them
        named = {name: each for name, each in specification.items() if name != "LaunchTemplateName"}
        template["LaunchTemplateSpecification"] = named
    distribution = {
        **before.get("InstancesDistribution", {}),
        **wanted.get("InstancesDistribution", {}),
    }
    return {"LaunchTemplate": template, "InstancesDistribution": distribution}


def _refresh(request: Any) -> ActionResult:
    """StartInstanceRefresh: every machine is replaced, or with skip matching those that do not match."""
    backend = request.autoscaling_backend
    group = backend.autoscaling_groups[request._get_param("AutoScalingGroupName")]
    if any(getattr(state, "refreshed", False) for state in group.instance_states):
        raise AutoscalingClientError(
            "InstanceRefreshInProgress", "An Instance Refresh is already in progress"
        )
    preferences = request._get_param("Preferences", {})
    skips = str(preferences.get("SkipMatching", False)).lower() == "true"
    for state in group.instance_states:
        state.refreshed = not (skips and _matches(group, state))
    _replace(group)
    return ActionResult({"InstanceRefreshId": str(uuid.uuid4())})


def _matches(group: Any, state: Any) -> bool:
    listed = (group.mixed_instances_policy or {}).get("LaunchTemplate", {}).get("Overrides", [])
    types = [each["InstanceType"] for each in listed] or [group.instance_type]
    return state.instance_type in types and state.template_version == _template_version(group)


def _template_version(group: Any) -> int | None:
    template = group.ec2_launch_template
    return template and int(template.get_version(group.launch_template_version).number)


def _launched_from(state: Any) -> dict[str, Any] | None:
    """The version of the template that a machine was launched from, where moto tells the present default."""
    template = state.auto_scaling_group and state.auto_scaling_group.ec2_launch_template
    if template is None:
        return None
    return {
        "LaunchTemplateId": template.id,
        "LaunchTemplateName": template.name,
        "Version": str(getattr(state, "template_version", template.default_version_number)),
    }


def _leaves(group: Any, state: Any) -> bool:
    subnets = (group.vpc_zone_identifier or "").split(",")
    return (
        getattr(state, "refreshed", False)
        or (bool(group.vpc_zone_identifier) and state.instance.subnet_id not in subnets)
        or (bool(group.mixed_instances_policy) and _is_spot(state) != wants_spot(group))
    )


def _is_spot(state: Any) -> bool:
    return bool(state.instance.lifecycle == "spot")


def _replace(group: Any) -> None:
    """A new machine for each that leaves, and then the end of that one."""
    for leaving in [state for state in group.instance_states if _leaves(group, state)]:
        before = len(group.instance_states)
        group.replace_autoscaling_group_instances(1, group.get_propagated_tags())
        if len(group.instance_states) == before:  # refused
            group.refused_at = time.monotonic()
            return
        _end(group, leaving)


def _end(group: Any, state: Any) -> None:
    """Terminate a machine, with what was made for it and moto leaves behind."""
    ec2 = group.autoscaling_backend.ec2_backend
    instance = state.instance
    volumes = [device.volume_id for _, device in instance.get_block_device_mapping]
    interfaces = [each.id for each in instance.nics.values()]
    group.instance_states.remove(state)
    ec2.terminate_instances([instance.id])
    for identifier in volumes:
        ec2.volumes.pop(identifier, None)
    for identifier in interfaces:
        ec2.enis.pop(identifier, None)
