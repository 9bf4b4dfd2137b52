"""The application's client, as in the tests of the server."""

from tests.server.conftest import client, runtime

__all__ = ["client", "runtime"]
