"""Routes. The fixed contract has no prefix and no trailing slash (API.md)."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

urlpatterns = [
    path("admin/", admin.site.urls),
]
