"""The ground that the other tests stand on."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest
import pytest_socket
import redis
from celery import Celery
from django.conf import settings
from django.db import connection


@pytest.mark.django_db
def test_the_database_is_a_real_postgresql_with_a_test_name():
    with connection.cursor() as cursor:
        cursor.execute("SELECT version(), current_database()")
        version, name = cursor.fetchone()
    assert version.startswith("PostgreSQL ")
    assert name.startswith("test_")


def test_redis_is_real_empty_and_not_database_zero(redis_url):
    with redis.Redis.from_url(redis_url) as client:
        assert client.ping()
        assert client.dbsize() == 0
        assert client.connection_pool.connection_kwargs["db"] > 0


def test_celery_publishes_to_the_tests_own_redis_database(redis_url):
    app = Celery("probe", broker=settings.CELERY_BROKER_URL)
    with app.connection_for_write() as link:
        app.send_task("probe.task", queue="probe", connection=link)
    app.close()
    with redis.Redis.from_url(redis_url) as client:
        assert client.llen("probe") == 1


@pytest.mark.filterwarnings("ignore:A test tried to use")
def test_another_host_can_not_be_reached():
    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as outside,
        pytest.raises(pytest_socket.SocketConnectBlockedError),
    ):
        outside.connect(("192.0.2.1", 80))


@pytest.mark.real
def test_a_separate_process_sees_the_tests_database_and_redis(child_environment):
    code = (
        "import django; django.setup()\n"
        "from django.conf import settings\n"
        "from django.db import connection\n"
        "connection.ensure_connection()\n"
        "print(connection.settings_dict['NAME'], settings.REDIS_URL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**child_environment, "DJANGO_SETTINGS_MODULE": "autopack_site.settings"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [connection.settings_dict["NAME"], settings.REDIS_URL]
