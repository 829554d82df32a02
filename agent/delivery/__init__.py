"""A release on its way to a machine: downloads, archives, layers."""
