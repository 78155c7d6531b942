"""Fixtures of the console's tests: an operator's client, fakes at the ports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from runs import ports
from tests.fakes import PORTS


@pytest.fixture(autouse=True)
def _fake_ports(settings: Any) -> Iterator[None]:
    settings.AUTOPACK_PORTS = PORTS
    ports._adapter.cache_clear()
    yield
    ports._adapter.cache_clear()


@pytest.fixture
def operator(db: None) -> Client:
    """A person who may do everything."""
    client = Client()
    client.force_login(User.objects.create_superuser("operator"))
    return client


@pytest.fixture
def viewer(db: None) -> Client:
    """A person who may look and do nothing."""
    user = User.objects.create_user("viewer", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client = Client()
    client.force_login(user)
    return client
