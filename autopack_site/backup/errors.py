"""What can go wrong with backups. Each message says what to do."""

from __future__ import annotations

from autopack_site.kernel.errors import AutopackError, Conflict


class BackupFailed(AutopackError):
    """The backup could not be made; nothing is left of it."""

    code, status = "backup-failed", 500
    title = "The backup was not made"


class BackupUnsound(AutopackError):
    """The file is no backup, is not whole, or was changed."""

    code, status = "backup-unsound", 422
    title = "The backup can't be used"


class RestoreRefused(Conflict):
    """This system is not one to restore into as it is; nothing was changed."""

    code = "restore-refused"
    title = "Nothing was restored"


class RestoreFailed(AutopackError):
    """The restore stopped half way; run it again with --replace."""

    code, status = "restore-failed", 500
    title = "The restore did not come to its end"
