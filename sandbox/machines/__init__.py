"""Machines that really boot: each EC2 instance of the sandbox as a container with systemd."""
