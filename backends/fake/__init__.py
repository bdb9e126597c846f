"""A backend that pretends, and says so: for tests, demos and for measuring our own overhead. No model, no network."""

from backends.fake.backend import FakeBackend
from backends.fake.script import Script, script_of

__all__ = ["FakeBackend", "Script", "script_of"]
