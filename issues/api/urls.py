"""The issue routes (API.md)."""

from __future__ import annotations

from django.urls import path

from issues.api import reports, views

urlpatterns = [
    path(
        "runs/<str:run_id>/phases/<str:phase_id>/record_issue",
        views.RecordIssueView.as_view(),
        name="record-issue",
    ),
    path("runs/<str:run_id>/issues/index", views.IssueIndexView.as_view(), name="issue-index"),
    path("project/issues/backlog", views.BacklogView.as_view(), name="issue-backlog"),
    path("reports/issue_backlog_summary", reports.BacklogSummaryView.as_view()),
    path("reports/run_summary/<str:run_id>", reports.RunSummaryView.as_view()),
]
