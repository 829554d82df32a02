"""How what holds a user's data, and what guards it, is kept: one rule for all of it."""

import pulumi


def kept(parent: pulumi.Resource, *, delete_data: bool) -> pulumi.ResourceOptions:
    """Resource options of something that holds data, or that guards it.

    Protected, so that no plan deletes or replaces it, and retained, so that even ``--ignore-protect`` only
    forgets it. Both are lifted by the stack's ``deleteData`` key, which must spell the stack's name.
    """
    return pulumi.ResourceOptions(
        parent=parent, protect=not delete_data, retain_on_delete=not delete_data
    )
