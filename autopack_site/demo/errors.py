"""What may end the demo before its summary."""

from __future__ import annotations

from autopack_site.kernel.errors import AutopackError


class DemoFailed(AutopackError):
    """A part of the demo could not be made ready, or stopped on the way; the detail says what to do."""

    code, status = "demo-failed", 500
    title = "The demo could not go on"
