"""The account of the sandbox's AWS, for whoever needs nothing else of it."""

ACCOUNT = "123456789012"
"""The account of everything in the sandbox: moto's own default."""
