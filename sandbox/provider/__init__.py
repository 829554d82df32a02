"""The stand-in for Pulumi's `aws` provider: the same types and functions, carried out on moto.

It is strict on purpose: what it does not model it refuses, because an input that is silently
dropped makes a test pass that should fail.
"""
