"""Routes. The fixed contract has no prefix and no trailing slash (API.md)."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from integration.api.prometheus import PrometheusView

urlpatterns = [
    path("admin/", include("integration.console.urls")),
    path("admin/", admin.site.urls),
    path("", include("runs.api.urls")),
    path("", include("issues.api.urls")),
    path("prometheus", PrometheusView.as_view()),
    path("", include("integration.api.urls")),
]

handler400 = "autopack_site.error_views.bad_request"
handler403 = "autopack_site.error_views.permission_denied"
handler404 = "autopack_site.error_views.page_not_found"
handler500 = "autopack_site.error_views.server_error"
