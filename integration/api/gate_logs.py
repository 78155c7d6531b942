"""An attempt's gate log: whole, by ranges, or followed while the gate works."""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path

from django.conf import settings
from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request

from autopack_site.kernel.errors import NotFound
from integration.api.patches import RANGE, AttemptView
from integration.api.ranges import answer, asked, span_of
from integration.api.serializers import GateLogIn
from integration.logs import Slice, read_range
from integration.models import GateRun
from integration.repository import log_path
from runs.api import examples_read as read
from runs.api.schema import answers, shown
from runs.api.streams import stream

LOG_TYPE = "text/plain; charset=utf-8"
INTERVAL_S = 0.25
CHUNK_BYTES = 64 * 1024
_SHORTENED = b"\n[... the log was shortened meanwhile: some bytes are left out here ...]\n"
_FULL = OpenApiResponse(description="Too many follow or wait here already; come back after Retry-After.")


class NoGateLog(NotFound):
    """The attempt has had no gate run, or none of this number."""

    code = "gate-log-not-found"
    title = "Gate log not found"


class GateLogView(AttemptView):
    """`/runs/{run_id}/phases/{phase_id}/attempts/{attempt_id}/gate_log`."""

    @extend_schema(
        parameters=[GateLogIn, RANGE],
        responses=answers(
            {
                (200, "text/plain"): OpenApiTypes.STR,
                (206, "text/plain"): OpenApiTypes.STR,
                204: _FULL,
            },
            404,
            416,
        ),
        operation_id="get_gate_log",
        examples=shown(answered=read.GATE_LOG, status=(200, 206), media_type="text/plain"),
    )
    def get(self, request: Request, run_id: str, phase_id: str, attempt_id: str) -> HttpResponseBase:
        """Show the log of the attempt's last gate run; with `follow`, as it grows, until the gate has ended."""
        query = self.query(GateLogIn)
        gate = self._gate(run_id, phase_id, attempt_id, query.get("gate_run"))
        path = log_path(run_id, f"gate-{gate.pk}")
        headers = {"Autopack-Gate-Run": str(gate.number)}
        if query["follow"]:
            chunks = follow(gate.pk, path, query["offset"], limit_s=settings.STREAM_LIMIT_S)
            return stream(chunks, content_type=LOG_TYPE, headers=headers)
        source = Slice(path)
        try:
            span = span_of(asked(request), source.size_bytes)
            return answer(source, source.size_bytes, span, content_type=LOG_TYPE, headers=headers)
        except BaseException:
            source.close()
            raise

    def _gate(self, run_id: str, phase_id: str, attempt_id: str, number: int | None) -> GateRun:
        attempt = self.require_attempt(run_id, phase_id, attempt_id)
        gates = GateRun.objects.filter(attempt=attempt).only("id", "number")
        if number is not None:
            gates = gates.filter(number=number)
        gate = gates.order_by("-number").first()
        if gate is None:
            raise NoGateLog(f"Attempt {attempt_id} has no such gate run")
        return gate


def follow(gate_run_id: str, path: Path, offset: int, *, limit_s: float) -> Generator[bytes]:
    """Yield a gate's log from offset on as it grows, until the gate has ended or limit_s seconds are over."""
    deadline = time.monotonic() + limit_s
    while True:
        is_over = (
            not GateRun.objects.open().filter(pk=gate_run_id).exists()
        )  # what it wrote is then read below
        while True:
            piece = read_range(path, offset, CHUNK_BYTES)
            if piece.next_offset > piece.size_bytes > 0:
                offset = piece.size_bytes
                yield _SHORTENED
                continue
            if not piece.data:
                break
            offset = piece.next_offset
            yield piece.data
        left = deadline - time.monotonic()
        if is_over or left <= 0:
            return
        time.sleep(min(INTERVAL_S, left))
