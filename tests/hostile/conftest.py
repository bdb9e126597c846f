"""The server of the surface's tests, asked by strangers who mean harm."""

from tests.surface.conftest import faked

__all__ = ["faked"]
