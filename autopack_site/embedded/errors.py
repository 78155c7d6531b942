"""What can go wrong with the embedded services. Each message says what to do."""

from __future__ import annotations

from autopack_site.kernel.errors import AutopackError


class EmbeddedUnavailable(AutopackError):
    """The embedded servers can't be used on this machine or in this installation."""

    code, status = "embedded-unavailable", 503
    title = "There are no embedded services here: set DATABASE_URL and AUTOPACK_REDIS_URL"


class UnsafeFolder(AutopackError):
    """A folder that must be ours alone belongs to somebody else, or is a link."""

    code, status = "unsafe-folder", 503
    title = "A private folder is not private"


class ServiceStartFailed(AutopackError):
    """A server did not come up, or would not go down. `detail` carries the end of its log."""

    code, status = "service-start-failed", 503
    title = "A service did not start"


class ServiceNotOwned(AutopackError):
    """Another process started this server; only that process may stop or restart it."""

    code, status = "service-not-owned", 409
    title = "The service belongs to another process"
