"""The console's addresses, below the admin's own."""

from __future__ import annotations

from django.urls import path

from integration.console import board_views

app_name = "console"
urlpatterns = [
    path("", board_views.home, name="home"),
    path("board/", board_views.board, name="board"),
    path("board/rows/", board_views.board_rows, name="board-rows"),
]
