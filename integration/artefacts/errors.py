"""What can keep an artefact from being written."""

from __future__ import annotations

from autopack_site.kernel.errors import AutopackError


class ArtefactsBusy(AutopackError):
    """Another process writes the same folder. The outbox row stays open, so the sweep comes back to it."""

    code, status, retryable = "artefacts-busy", 503, True
    title = "Another process writes these files"


class ArtefactsUnwritable(AutopackError):
    """The file system refuses: full, read-only, or something that is no file stands in the place."""

    code, status, retryable = "artefacts-unwritable", 503, True
    title = "The files can't be written"


class UnsafeName(AutopackError):
    """An id from the database is not fit to name a file, or would take the place of another artefact."""

    code, status = "artefacts-unsafe-name", 422
    title = "The id can't name a file"
