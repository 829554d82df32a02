"""The machine's operating system: commands, units, packages, Docker, ports, disks."""
