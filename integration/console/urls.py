"""The console's addresses, below the admin's own."""

from __future__ import annotations

from django.urls import path

from integration.console import attempt_views, board_views, run_views, stuck_views

app_name = "console"
urlpatterns = [
    path("", board_views.home, name="home"),
    path("board/", board_views.board, name="board"),
    path("board/rows/", board_views.board_rows, name="board-rows"),
    path("board/trends/", board_views.trends, name="trends"),
    path("board/runs/<str:run_id>/", run_views.run, name="run"),
    path("board/runs/<str:run_id>/live/", run_views.run_live, name="run-live"),
    path("board/runs/<str:run_id>/events/", run_views.run_events, name="run-events"),
    path("board/runs/<str:run_id>/strategy/", run_views.run_strategy, name="run-strategy"),
    path("board/runs/<str:run_id>/files/", run_views.run_files, name="run-files"),
    path("board/runs/<str:run_id>/files/<path:name>", run_views.run_file, name="run-file"),
    path("board/runs/<str:run_id>/cancel/", run_views.run_cancel, name="run-cancel"),
    path("board/attempts/<str:attempt_id>/", attempt_views.attempt, name="attempt"),
    path("board/attempts/<str:attempt_id>/live/", attempt_views.attempt_live, name="attempt-live"),
    path("board/attempts/<str:attempt_id>/patch/", attempt_views.attempt_patch, name="attempt-patch"),
    path("board/gates/<str:gate_id>/log/", attempt_views.gate_log_part, name="gate-log"),
    path("board/gates/<str:gate_id>/log/whole/", attempt_views.gate_log_whole, name="gate-log-whole"),
    path("stuck/", stuck_views.stuck_work, name="stuck"),
    path("stuck/<str:kind>/<str:key>/", stuck_views.retry, name="retry"),
]
