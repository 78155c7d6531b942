"""What was answered to a POST that came with an idempotency key."""

from __future__ import annotations

from django.db import models

from runs.querysets import KeptAnswerQuerySet


class KeptAnswer(models.Model):
    """One key in use. `status` is null while the first request is at work; that is `owner`'s until `owner_until`.

    `digest` is SHA-256 of token, method, path and key, `fingerprint` of the query and the body's bytes. A null
    `body` beside a status was not kept: it showed a secret once. All times are the database's.
    """

    digest = models.CharField(max_length=64, primary_key=True)
    fingerprint = models.CharField(max_length=64)
    owner = models.CharField(max_length=32)
    owner_until = models.DateTimeField()
    kept_until = models.DateTimeField()
    status = models.PositiveSmallIntegerField(null=True, blank=True)
    headers = models.JSONField(default=dict, blank=True)
    body = models.BinaryField(null=True, blank=True)

    objects = KeptAnswerQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["kept_until"], name="kept_answer_until")]  # the sweep's

    def __str__(self) -> str:
        return self.digest
