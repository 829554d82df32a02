"""The Pulumi components of a cluster: they compose and decide; plain functions in ``model`` compute."""
