"""Tokens from the terminal: the value is shown once, works, and stops working when it is revoked."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from runs.models import ApiToken
from runs.tokens import caller_of

pytestmark = pytest.mark.django_db


def told(*args: str) -> str:
    out = StringIO()
    call_command("token", *args, stdout=out, stderr=StringIO())
    return out.getvalue().strip()


def test_a_token_works_until_it_is_revoked() -> None:
    value = told("add", "night-shift", "--role", "builder")
    caller = caller_of(value)
    assert caller is not None
    assert (caller.name, caller.roles) == ("night-shift", frozenset({"builder"}))
    told("revoke", value[:12])
    assert caller_of(value) is None


def test_the_list_shows_no_value() -> None:
    value = told("add", "night-shift", "--role", "builder", "--role", "auditor")
    (row,) = json.loads(told("list", "--json"))
    assert (row["agent"], row["roles"], row["state"]) == ("night-shift", ["auditor", "builder"], "valid")
    assert value not in told("list")
    assert ApiToken.objects.get().digest not in told("list", "--json")


def test_revoking_needs_exactly_one_match() -> None:
    told("add", "one", "--role", "reader")
    with pytest.raises(CommandError, match="exactly one"):
        told("revoke", "apk_")


def test_an_unknown_project_is_one_line() -> None:
    with pytest.raises(CommandError, match="Project nope not found"):
        told("add", "one", "--role", "reader", "--project", "nope")
