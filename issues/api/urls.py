"""The issue routes (API.md)."""

from __future__ import annotations

from django.urls import path

from issues.api import batch, decisions, entries, exchange, reports, views

_PHASE = "runs/<str:run_id>/phases/<str:phase_id>"
_ENTRY = "project/issues/<int:entry_id>"

urlpatterns = [
    path(f"{_PHASE}/record_issue", views.RecordIssueView.as_view(), name="record-issue"),
    path(f"{_PHASE}/record_issues", batch.RecordIssuesView.as_view()),
    path(f"{_PHASE}/import_csv", exchange.ImportCsvView.as_view()),
    path("runs/<str:run_id>/issues/index", views.IssueIndexView.as_view(), name="issue-index"),
    path("runs/<str:run_id>/issues/export", exchange.RunExportView.as_view()),
    path("project/issues", entries.EntryListView.as_view()),
    path("project/issues/backlog", views.BacklogView.as_view(), name="issue-backlog"),
    path("project/issues/facets", entries.FacetsView.as_view()),
    path("project/issues/export", exchange.BacklogExportView.as_view()),
    path(_ENTRY, entries.EntryDetailView.as_view()),
    path(f"{_ENTRY}/timeline", entries.TimelineView.as_view()),
    path(f"{_ENTRY}/accept", decisions.AcceptView.as_view()),
    path(f"{_ENTRY}/resolve", decisions.ResolveView.as_view()),
    path(f"{_ENTRY}/merge", decisions.MergeView.as_view()),
    path(f"{_ENTRY}/split", decisions.SplitView.as_view()),
    path("reports/issue_backlog_summary", reports.BacklogSummaryView.as_view()),
    path("reports/run_summary/<str:run_id>", reports.RunSummaryView.as_view()),
]
