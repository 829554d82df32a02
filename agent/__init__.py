"""The node agent: makes a machine what its specification says, and reports what it is.

Runs on the machines with the system's own Python (3.8 or newer) and nothing but its standard library; it shares
no code with the program that deploys it, only two JSON documents.
"""
