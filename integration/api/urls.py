"""Routes about what git and gates hold of a phase."""

from __future__ import annotations

from django.urls import path

from integration.api import gate_logs, junit, patches, phases

_PHASE = "runs/<str:run_id>/phases/<str:phase_id>"

urlpatterns = [
    path(_PHASE, phases.PhaseView.as_view()),
    path(f"{_PHASE}/import_junit", junit.ImportJunitView.as_view()),
    path(f"{_PHASE}/attempts/<str:attempt_id>/diff", patches.DiffView.as_view()),
    path(f"{_PHASE}/attempts/<str:attempt_id>/gate_log", gate_logs.GateLogView.as_view()),
]
