"""An unsafe production start is refused, and the first start makes its accounts once."""

from __future__ import annotations

import pytest
from django.conf import settings as configured
from django.contrib.auth import authenticate, get_user_model
from django.core.exceptions import ImproperlyConfigured

from autopack_site.checks import DEVELOPMENT_KEY, enforce, is_loopback, refuse_unsafe_start
from autopack_site.first_start import OPERATOR, create_first_accounts
from autopack_site.kernel.auth import Role
from runs.tokens import caller_of


@pytest.fixture
def production(settings):
    settings.PRODUCTION = True
    settings.DEBUG = False
    settings.OPEN_LOOPBACK = False
    settings.SECRET_KEY = "k" * 50
    settings.ALLOWED_HOSTS = ["autopack.example"]
    settings.BIND = "0.0.0.0:8790"
    return settings


def ids():
    return [found.id for found in refuse_unsafe_start()]


def test_a_careful_production_configuration_is_accepted(production):
    enforce()
    assert ids() == []


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("SECRET_KEY", DEVELOPMENT_KEY, "autopack.E001"),
        ("SECRET_KEY", "short", "autopack.E001"),
        ("DEBUG", True, "autopack.E002"),
        ("ALLOWED_HOSTS", ["*"], "autopack.E003"),
        ("CRASH_DIR", "/nowhere", "autopack.E006"),
    ],
)
def test_each_careless_setting_is_refused_in_production(production, name, value, code):
    setattr(production, name, value)
    assert ids() == [code]
    with pytest.raises(ImproperlyConfigured):
        enforce()


def test_open_loopback_is_refused_in_production_and_beyond_loopback(production):
    production.OPEN_LOOPBACK = True
    assert ids() == ["autopack.E004", "autopack.E005"]
    production.PRODUCTION = False
    assert ids() == ["autopack.E005"]
    production.BIND = "127.0.0.1:8790"
    assert ids() == []


@pytest.mark.parametrize(
    ("bind", "expected"),
    [
        ("127.0.0.1:1", True), ("127.9.9.9:1", True), ("[::1]:1", True), ("localhost:1", True),
        ("unix:/run/autopack.sock", True), ("0.0.0.0:1", False), ("[::]:1", False), ("10.0.0.1:1", False),
        (":8790", False), ("localhost.example:1", False), ("8790", False),
    ],
)  # fmt: skip
def test_only_this_machines_addresses_are_loopback(bind, expected):
    assert is_loopback(bind) is expected


def test_the_settings_named_development_key_is_the_one_in_force_without_any():
    assert configured.SECRET_KEY == DEVELOPMENT_KEY or len(configured.SECRET_KEY) > 32


@pytest.mark.django_db
def test_the_first_accounts_work_and_are_made_once():
    accounts = create_first_accounts()
    assert accounts is not None
    user = authenticate(username=OPERATOR, password=accounts.password)
    assert user is not None
    assert user.is_superuser
    caller = caller_of(accounts.token)
    assert caller is not None
    assert caller.roles == frozenset({Role.OPERATOR})
    text = "\n".join(accounts.lines())
    assert accounts.password in text
    assert accounts.token in text
    assert create_first_accounts() is None
    assert get_user_model().objects.count() == 1
