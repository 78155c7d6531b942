"""Routes of runs. Paths are the contract's: no prefix, no trailing slash."""

from __future__ import annotations

from django.urls import path

from runs.api import (
    audits,
    claims,
    events,
    phases,
    projects,
    reports,
    results,
    ruleset_lint,
    runs,
    system,
    tokens,
    trials,
)

_PHASE = "runs/<str:run_id>/phases/<str:phase_id>"

urlpatterns = [
    path("", system.RootView.as_view()),
    path("health", system.HealthView.as_view()),
    path("ready", system.ReadyView.as_view()),
    path("openapi.json", system.OpenApiView.as_view()),
    path("docs", system.DocsView.as_view()),
    path("claim", claims.ClaimAnyView.as_view()),
    path("leases/<str:lease_id>/heartbeat", claims.HeartbeatView.as_view()),
    path("leases/<str:lease_id>/release", claims.ReleaseView.as_view()),
    path("metrics/runs", reports.RunMetricsView.as_view()),
    path("metrics/tiers/<str:run_id>", reports.TierMetricsView.as_view()),
    path("reports/budget_analysis", reports.BudgetAnalysisView.as_view()),
    path("audits", audits.AuditListView.as_view()),
    path("projects", projects.ProjectListView.as_view()),
    path("projects/<str:project_id>", projects.ProjectView.as_view()),
    path("projects/<str:project_id>/rulesets", projects.RulesetListView.as_view()),
    path("projects/<str:project_id>/rulesets/<int:version>", projects.RulesetView.as_view()),
    path("rulesets/lint", ruleset_lint.RulesetLintView.as_view()),
    path("projects/<str:project_id>/rulesets/dry_run", trials.DryRunView.as_view()),
    path("projects/<str:project_id>/rulesets/replay", trials.ReplayView.as_view()),
    path("projects/<str:project_id>/classification", trials.ClassificationView.as_view()),
    path("plans/check", trials.PlanCheckView.as_view()),
    path("plans/explain", trials.PlanExplainView.as_view()),
    path("plans/split", trials.PlanSplitView.as_view()),
    path("plans/convert", trials.PlanConvertView.as_view()),
    path("tokens", tokens.TokenListView.as_view()),
    path("tokens/<int:token_id>/revoke", tokens.RevokeTokenView.as_view()),
    path("runs", runs.RunListView.as_view()),
    path("runs/start", runs.StartView.as_view()),
    path("runs/<str:run_id>", runs.RunView.as_view()),
    path("runs/<str:run_id>/events", events.EventsView.as_view()),
    path("runs/<str:run_id>/events/stream", events.EventStreamView.as_view()),
    path("runs/<str:run_id>/strategy", projects.StrategyView.as_view()),
    path("runs/<str:run_id>/promotion", projects.PromotionView.as_view()),
    path("runs/<str:run_id>/integration_status", runs.IntegrationStatusView.as_view()),
    path("runs/<str:run_id>/cancel", runs.CancelView.as_view()),
    path("runs/<str:run_id>/claim", claims.ClaimView.as_view()),
    path(f"{_PHASE}/update_status", phases.UpdateStatusView.as_view()),
    path(f"{_PHASE}/builder_result", results.BuilderResultView.as_view()),
    path(f"{_PHASE}/auditor_request", results.AuditorRequestView.as_view()),
    path(f"{_PHASE}/auditor_result", results.AuditorResultView.as_view()),
]
