"""The stand-ins for Pulumi's providers `aws` (on moto), `command` (real processes) and `docker` (real containers).

They are strict on purpose: what they do not model they refuse, because an input that is silently
dropped makes a test pass that should fail.
"""
