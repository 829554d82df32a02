"""A stand-in for the Graphistry release: the vendor's files and commands around small real services."""

from .build import build_release

__all__ = ["build_release"]
