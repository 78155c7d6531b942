"""Production settings as a separate process sees them: TLS at the proxy, no defaults, nothing to find."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from django.conf import settings

HOST = "autopack.example.org"
CAREFUL = {
    "AUTOPACK_PRODUCTION": "1",
    "AUTOPACK_SECRET_KEY": "".join(map(chr, range(48, 122))),
    "AUTOPACK_ALLOWED_HOSTS": HOST,
    "AUTOPACK_BEHIND_TLS": "1",
}
# What a browser and a health check meet, with the settings as the environment makes them.
LOOK = (
    f"HOST = {HOST!r}"
    + """
import json, django
django.setup()
from django.test import Client
client = Client(enforce_csrf_checks=True, headers={"host": HOST})
tls = {"x-forwarded-proto": "https"}
page = client.get("/admin/login/", headers=tls)
form = {"username": "nobody", "password": "x", "csrfmiddlewaretoken": page.cookies["csrftoken"].value}
def post(origin):
    return client.post("/admin/login/", form, headers={**tls, "origin": origin, "referer": origin + "/"}).status_code
print(json.dumps({
    "secure": page.cookies["csrftoken"]["secure"], "hsts": page.headers.get("Strict-Transport-Security"),
    "own": post("https://" + HOST), "other": post("https://evil.example.org"), "named": post("https://seen.example.org:8443"),
    "plain": client.get("/admin/login/").headers.get("Location"), "health": client.get("/health").status_code,
}))
"""
)


def process(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("AUTOPACK_")}
    return subprocess.run(
        [sys.executable, *argv], cwd=settings.BASE_DIR, env={**kept, **environment}, capture_output=True,
        text=True, timeout=60,
    )  # fmt: skip


def check(**environment: str) -> subprocess.CompletedProcess[str]:
    return process("manage.py", "check", "--deploy", "--fail-level", "WARNING", **environment)


def test_a_careful_production_environment_has_nothing_that_check_deploy_finds():
    done = check(**CAREFUL)
    assert done.returncode == 0, done.stderr
    assert "no issues (2 silenced)" in done.stdout


def test_production_with_the_defaults_is_refused_and_told_what_to_set(tmp_path):
    done = check(AUTOPACK_PRODUCTION="1", AUTOPACK_STATE_DIR=str(tmp_path))
    assert done.returncode == 1
    assert "autopack.E001" in done.stderr
    assert "set AUTOPACK_SECRET_KEY" in done.stderr


@pytest.mark.django_db(transaction=True)
def test_behind_a_tls_proxy_forms_work_from_our_own_origin_only_and_cookies_keep_to_tls(child_environment):
    done = process(
        "-W", "ignore", "-c", LOOK,
        **{**child_environment, **CAREFUL, "DJANGO_SETTINGS_MODULE": "autopack_site.settings"},
        AUTOPACK_TRUSTED_ORIGINS="https://seen.example.org:8443",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "secure": True, "hsts": "max-age=31536000", "own": 200, "other": 403, "named": 200,
        "plain": f"https://{HOST}/admin/login/", "health": 200,
    }  # fmt: skip


def test_without_a_proxy_nothing_trusts_what_a_client_says_of_tls():
    assert settings.SECURE_PROXY_SSL_HEADER is None
    assert settings.SECURE_SSL_REDIRECT is False
    assert settings.SESSION_COOKIE_SECURE is False
