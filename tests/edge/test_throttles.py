"""How often one may ask: by token, by address, and with tokens that do not hold."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings as site
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext, override_settings

from autopack_site import settings as defaults
from runs import throttles
from strategy.models import Project
from tests.edge.routes import routes
from tests.runs.api.conftest import Api, api_for, problem_of

pytestmark = pytest.mark.django_db
LIMITS = ("TOKEN_REQUESTS_PER_MINUTE", "ADDRESS_REQUESTS_PER_MINUTE", "FAILED_TOKENS_PER_MINUTE")


@pytest.fixture(autouse=True)
def _open(settings: Any) -> Any:
    """No limit but the one that a test sets; and Redis counts as present."""
    for name in LIMITS:
        setattr(settings, name, 0)
    throttles.absence.end()
    yield
    throttles.absence.end()


def spend(api: Api, number: int, path: str = "/runs") -> list[int]:
    return [api.get(path).status_code for _ in range(number)]


def test_a_token_over_its_limit_is_asked_to_come_back(operator: Api, reader: Api, settings: Any):
    settings.TOKEN_REQUESTS_PER_MINUTE = 3
    assert spend(operator, 3) == [200, 200, 200]
    answer = operator.get("/runs")
    assert 1 <= int(answer["Retry-After"]) <= 20
    assert problem_of(answer, 429, "throttled")["detail"].startswith("Too many requests: come back in ")
    assert reader.get("/runs").status_code == 200, "another token has a bucket of its own"


def test_an_address_has_a_limit_for_all_its_tokens(operator: Api, reader: Api, settings: Any):
    settings.ADDRESS_REQUESTS_PER_MINUTE = 3
    assert [*spend(operator, 2), *spend(reader, 1)] == [200, 200, 200]
    problem_of(reader.get("/runs"), 429, "throttled")
    elsewhere = reader.client.get(
        "/runs", headers={"authorization": f"Bearer {reader.token}"}, REMOTE_ADDR="192.0.2.9"
    )
    assert elsewhere.status_code == 200


def test_a_throttled_request_asks_the_database_nothing(operator: Api, settings: Any):
    settings.TOKEN_REQUESTS_PER_MINUTE = 1
    spend(operator, 1)
    with CaptureQueriesContext(connection) as queries:
        problem_of(operator.get("/runs"), 429, "throttled")
    assert len(queries) == 0


def test_a_refused_request_takes_nothing_from_the_other_bucket(operator: Api, settings: Any):
    settings.TOKEN_REQUESTS_PER_MINUTE, settings.ADDRESS_REQUESTS_PER_MINUTE = 1, 3
    assert spend(operator, 5) == [200, 429, 429, 429, 429]
    assert spend(api_for("reader", name="second"), 1) == spend(api_for("reader", name="third"), 1) == [200]


def test_a_bucket_refills(operator: Api, settings: Any, redis_url: str):
    settings.TOKEN_REQUESTS_PER_MINUTE = 6
    spend(operator, 1)
    with redis.Redis.from_url(redis_url) as client:
        [name] = client.keys("autopack:throttle:token:*")
        seconds, micros = client.time()
        now = seconds * 1_000_000 + micros
        client.set(name, now + 60_000_000)  # full only in a minute: empty
        assert 1 <= int(operator.get("/runs")["Retry-After"]) <= 10
        client.set(name, now + 50_000_000)  # ten seconds later: one has come in
        assert operator.get("/runs").status_code == 200
        assert 0 < client.pttl(name) <= 60_000, "a bucket that is full again is forgotten"


def test_failed_tokens_are_counted_for_their_address(settings: Any, operator: Api):
    settings.FAILED_TOKENS_PER_MINUTE = 2
    guesses = [Api(Client(), f"apk_{number}").get("/runs") for number in range(3)]
    assert [answer.status_code for answer in guesses] == [401, 401, 429]
    assert int(guesses[2]["Retry-After"]) >= 1
    assert operator.get("/runs").status_code == 200, "a token that holds is served all the same"


def test_a_missing_token_is_no_failed_one(settings: Any, anonymous: Api):
    settings.FAILED_TOKENS_PER_MINUTE = 1
    assert spend(anonymous, 3) == [401, 401, 401]


def test_malformed_credentials_are_failed_ones(settings: Any):
    settings.FAILED_TOKENS_PER_MINUTE = 2
    answers = [Client().get("/runs", headers={"authorization": "Basic YTpi"}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [401, 401, 429]


def test_every_route_behind_a_token_is_counted(project: Project, operator: Api, settings: Any):
    settings.TOKEN_REQUESTS_PER_MINUTE = 1
    spend(operator, 1)
    guarded = [route for route in routes() if route.needs_token]
    assert len(guarded) >= 15
    for route in guarded:
        problem_of(operator._call(route.method, route.path(), None, None), 429, "throttled")


def test_health_is_never_throttled(anonymous: Api, settings: Any):
    settings.ADDRESS_REQUESTS_PER_MINUTE = 1
    assert spend(anonymous, 3, "/health") == [200, 200, 200]


def test_a_redis_that_is_away_lets_everything_through_and_is_told_once(
    operator: Api, settings: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    settings.TOKEN_REQUESTS_PER_MINUTE = 1
    with override_settings(REDIS_URL=f"unix://{tmp_path}/nobody.sock"):
        assert spend(operator, 3) == [200, 200, 200]
    told = [record.getMessage() for record in caplog.records if "throttles.open" in record.getMessage()]
    assert len(told) == 1


def test_a_redis_that_hangs_costs_its_patience_once(
    operator: Api, settings: Any, monkeypatch: pytest.MonkeyPatch
):
    settings.TOKEN_REQUESTS_PER_MINUTE = 1
    asked = []

    def hangs(**_: Any) -> None:
        asked.append(1)
        raise redis.TimeoutError

    monkeypatch.setattr(throttles, "_script", lambda _url: hangs)
    assert spend(operator, 3) == [200, 200, 200]
    assert len(asked) == 1


def test_redis_is_asked_again_after_a_pause(operator: Api, settings: Any, monkeypatch: pytest.MonkeyPatch):
    settings.TOKEN_REQUESTS_PER_MINUTE = 1
    monkeypatch.setattr(throttles, "PAUSE_S", 0.0)
    throttles.absence.begin(redis.TimeoutError())
    assert spend(operator, 2) == [200, 429]


def test_redis_never_sees_a_token(operator: Api, settings: Any, redis_url: str):
    settings.TOKEN_REQUESTS_PER_MINUTE = 9
    spend(operator, 1)
    with redis.Redis.from_url(redis_url) as client:
        names = [name.decode() for name in client.keys("*")]
    assert names
    assert not [name for name in names if str(operator.token) in name or str(operator.token)[4:] in name]


ELSEWHERE = """
import django
django.setup()
from runs import throttles
for address in ("192.0.2.1", "192.0.2.2"):
    try:
        throttles.admit(address, b"")
        print("in")
    except throttles.Throttled:
        print("out")
"""


def test_processes_share_one_bucket(redis_url: str, settings: Any):
    settings.ADDRESS_REQUESTS_PER_MINUTE = 1
    throttles.admit("192.0.2.1", b"")
    environment = {
        "AUTOPACK_REDIS_URL": redis_url, "AUTOPACK_ADDRESS_REQUESTS_PER_MINUTE": "1",
        "DJANGO_SETTINGS_MODULE": "autopack_site.settings",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE], env=environment, cwd=site.BASE_DIR, capture_output=True, check=True
    )
    assert done.stdout.split() == [b"out", b"in"]
    with pytest.raises(throttles.Throttled):
        throttles.admit("192.0.2.2", b"")


def test_threads_take_no_more_than_there_is(settings: Any):
    settings.ADDRESS_REQUESTS_PER_MINUTE = 5
    outcomes: list[bool] = []

    def ask() -> None:
        for _ in range(10):
            try:
                throttles.admit("192.0.2.1", b"")
                outcomes.append(True)
            except throttles.Throttled:
                outcomes.append(False)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(True) == 5


@pytest.mark.parametrize(
    ("proxies", "remote", "forwarded", "address"),
    [
        (0, "192.0.2.1", "198.51.100.7", "192.0.2.1"),
        (0, "", "198.51.100.7", None),
        (1, "10.0.0.1", "6.6.6.6, 198.51.100.7", "198.51.100.7"),
        (2, "10.0.0.1", "6.6.6.6, 198.51.100.7, 10.0.0.2", "198.51.100.7"),
        (2, "10.0.0.1", "198.51.100.7", "198.51.100.7"),
        (1, "10.0.0.1", "", "10.0.0.1"),
        (1, "", "nonsense\x00", None),
        (0, "2001:db8:1:2:3:4:5:6", "", "2001:db8:1:2::/64"),
        (0, "::ffff:192.0.2.1", "", "192.0.2.1"),
    ],
)
def test_the_address_is_the_one_that_a_trusted_proxy_saw(
    settings: Any, proxies: int, remote: str, forwarded: str, address: str | None
):
    settings.TRUSTED_PROXIES = proxies
    request = RequestFactory().get("/", headers={"x-forwarded-for": forwarded}, REMOTE_ADDR=remote)
    assert throttles.address_of(request) == address


def test_fifty_busy_agents_are_not_hindered():
    assert defaults.TOKEN_REQUESTS_PER_MINUTE >= 50 * 2 * 60, "that share one token, each twice a second"
    assert defaults.ADDRESS_REQUESTS_PER_MINUTE >= 50 * 10 * 60, "on one host, each ten times a second"
    assert defaults.FAILED_TOKENS_PER_MINUTE <= defaults.ADDRESS_REQUESTS_PER_MINUTE / 100
