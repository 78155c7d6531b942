"""An attempt's patch."""

from __future__ import annotations

from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request

from integration.api.ranges import answer, asked, span_of
from integration.redaction import redact_bytes
from runs.api import examples
from runs.api.schema import answers, shown
from runs.api.views import ANY_ROLE, AgentView
from runs.errors import AttemptNotFound
from runs.models import Attempt

DIFF_TYPE = "text/x-diff; charset=utf-8"
RANGE = OpenApiParameter("Range", OpenApiTypes.STR, OpenApiParameter.HEADER, description="bytes=FIRST-LAST")


class AttemptView(AgentView):
    """A view of one attempt at a phase, which answers text of its own type."""

    allowed_roles = ANY_ROLE

    def require_attempt(self, run_id: str, phase_id: str, attempt_id: str, *fields: str) -> Attempt:
        """Return the attempt with these columns; raise PhaseNotFound or AttemptNotFound."""
        phase = self.require_phase(run_id, phase_id)
        attempt = phase.attempts.only("id", *fields).filter(pk=attempt_id).first()
        if attempt is None:
            raise AttemptNotFound(f"Attempt {attempt_id} not found")
        return attempt


class DiffView(AttemptView):
    """`/runs/{run_id}/phases/{phase_id}/attempts/{attempt_id}/diff`."""

    @extend_schema(
        parameters=[RANGE],
        responses=answers(
            {(200, "text/x-diff"): OpenApiTypes.STR, (206, "text/x-diff"): OpenApiTypes.STR}, 404, 416
        ),
        operation_id="get_diff",
        examples=shown(answered=examples.PATCH, status=(200, 206), media_type="text/x-diff"),
    )
    def get(self, request: Request, run_id: str, phase_id: str, attempt_id: str) -> HttpResponseBase:
        """Show the patch as it was handed in; one that never passed the judge, without what looks like a secret.

        An audit has no patch of its own: it is empty.
        """
        columns = ("patch", "patch_hash", "candidate_sha", "rebuilds")
        attempt = self.require_attempt(run_id, phase_id, attempt_id, *columns)
        patch = bytes(attempt.patch)
        is_judged = bool(attempt.candidate_sha or attempt.rebuilds)
        shown = patch if is_judged else redact_bytes(patch)
        etag = f'"{attempt.patch_hash}"' if shown == patch else f'"{attempt.patch_hash}-redacted"'
        span = span_of(asked(request, etag), len(shown))
        return answer(shown, len(shown), span, content_type=DIFF_TYPE, headers={"ETag": etag})
