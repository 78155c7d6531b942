"""Fixtures of the browser tests: the real site on real workers, and a person at a browser before it.

A test takes `browser` (logged out) or `operator` (logged in); `site.stack` starts workers, `world` makes projects.
When a test ends, its browser must have seen no error, no refusal by the policy and no request to another host.
Without Chromium these tests skip, and say so; with AUTOPACK_REQUIRE_BROWSER=1 that is a failure.
"""

from __future__ import annotations

import os
import socket
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import override_settings

from tests.flows.browser.browser import NAME, PASSWORD, Browser, chromium, missing
from tests.flows.stack import Stack, eventually

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("browser")
            item.add_marker("real")


@dataclass(frozen=True)
class Site:
    """The served site; `stack` starts and stops workers beside it."""

    url: str
    stack: Stack


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The one Chromium of this test process."""
    lacking = missing()
    if lacking and os.environ.get("AUTOPACK_REQUIRE_BROWSER") == "1":
        pytest.fail(f"{lacking}, and AUTOPACK_REQUIRE_BROWSER is set")
    if lacking:
        pytest.skip(f"{lacking}: install Debian's chromium and chromium-driver")
    with chromium(tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest.fixture(scope="session")
def static_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Static files, collected once."""
    folder = tmp_path_factory.mktemp("static")
    with override_settings(STATIC_ROOT=folder):
        call_command("collectstatic", interactive=False, verbosity=0)
    return folder


@pytest.fixture(scope="module")
def site(driver: Any, static_files: Path, stack: Stack) -> Iterator[Site]:
    """The site, served by the web server that production uses, with one operator who may do everything."""
    state = Path(stack.environment["AUTOPACK_STATE_DIR"])
    state.mkdir(parents=True, exist_ok=True)
    (state / "static").symlink_to(static_files)
    User.objects.create_superuser(NAME, password=PASSWORD)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    web = stack.start(
        "gunicorn", "autopack_site.wsgi:application", "--bind", f"127.0.0.1:{port}", "--worker-class", "gthread",
        "--workers", "1", "--threads", "8", "--no-control-socket", label="web",
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    eventually(lambda: _answers(url), timeout_s=60, what=lambda: f"the site to answer: {stack.logs()}")
    yield Site(url, stack)
    stack.kill(web)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:  # refused, cut off or slow: not yet
        return False


@pytest.fixture
def browser(driver: Any, site: Site, request: pytest.FixtureRequest) -> Iterator[Browser]:
    """A browser that knows nothing yet; what it noted is judged when the test ends."""
    driver.get("about:blank")
    driver.delete_all_cookies()
    driver.get_log("browser")
    driver.get_log("performance")
    person = Browser(driver, site.url)
    yield person
    person.look_back()
    driver.get("about:blank")  # nothing goes on fetching after the test
    driver.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": site.url, "storageTypes": "all"})
    if getattr(request.node, "failed_call", False):
        print(site.stack.logs())
    assert person.problems == []


@pytest.fixture
def operator(browser: Browser) -> Browser:
    """A browser in which the operator has logged in."""
    browser.log_in()
    return browser
