"""What a cluster is, in plain Python: settings, GPU catalogue, subnet blocks, node specification.

Nothing here imports Pulumi or an AWS client, so every rule can be tested in milliseconds and reused
by the components, the operator's commands and the sandbox.
"""
