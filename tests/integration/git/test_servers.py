"""Repositories behind https and ssh, at real servers: who Autopack is there, and where that is never seen."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import pytest
from django.conf import LazySettings
from django.core.exceptions import ImproperlyConfigured

from integration.credentials import credentials, header_for
from integration.git import command, environment
from integration.git_errors import PushRejected, SourceUnavailable
from integration.mirror import Mirror
from integration.refs import branch_ref
from integration.sources import Source
from tests.integration.git.conftest import Project, build, new_file
from tests.integration.git.servers import (
    PASSWORD,
    USER,
    HttpsServer,
    SshServer,
    https_server,
    ssh_server,
)

pytestmark = pytest.mark.enable_socket
ROW = f"{USER}:{quote(PASSWORD, safe='')}"


@pytest.fixture
def bare(project: Project, tmp_path: Path) -> Project:
    """The user's repository as a server has it."""
    project.git("clone", "-q", "--bare", str(project.path), str(tmp_path / "served" / "shop.git"))
    return Project(tmp_path / "served" / "shop.git")


@pytest.fixture
def https(bare: Project, tmp_path: Path, settings: LazySettings) -> Iterator[HttpsServer]:
    with https_server(bare.path.parent, tmp_path) as server:
        settings.GIT_CA_FILE = str(server.certificate)
        settings.GIT_CREDENTIALS = server.url.replace("https://", f"https://{ROW}@")
        yield server


@pytest.fixture
def ssh(tmp_path: Path, settings: LazySettings) -> Iterator[SshServer]:
    if shutil.which("ssh") is None:
        pytest.skip("there is no ssh client on this machine (Debian: openssh-client)")
    with ssh_server(tmp_path) as server:
        settings.GIT_SSH_KEY_FILE = str(server.key)
        settings.GIT_KNOWN_HOSTS_FILE = str(server.known_hosts)
        yield server


def fetch_and_push(mirror: Mirror, bare: Project, address: str) -> None:
    """Do all that a run does with a server, and look at what it has then."""
    before = bare.git("rev-parse", "main")
    assert mirror.fetch(address, "main") == before
    # more than git sends at once (http.postBuffer)
    large = "".join(f"{sha256(b'%d' % number).hexdigest()}\n" for number in range(40_000))
    made = build(mirror, before, new_file("large.txt", content=large))
    pairs = [(made.sha, branch_ref("run1"))]
    assert not mirror.has_pushed(address, pairs)
    assert mirror.push(address, pairs) == (branch_ref("run1"),)
    assert mirror.has_pushed(address, pairs)
    assert bare.git("rev-parse", "autonomous/run1") == made.sha
    other = build(mirror, before, new_file("other.txt"))
    with pytest.raises(PushRejected):
        mirror.push(address, [(other.sha, branch_ref("run1"))])


def test_a_run_works_with_an_https_server(mirror: Mirror, bare: Project, https: HttpsServer) -> None:
    fetch_and_push(mirror, bare, f"{https.url}/shop.git")


def test_a_run_works_with_an_ssh_server(mirror: Mirror, bare: Project, ssh: SshServer) -> None:
    fetch_and_push(mirror, bare, f"{ssh.url}{bare.path}")
    assert {words.split()[0] for words in ssh.commands} == {"git-upload-pack", "git-receive-pack"}


def test_a_wrong_password_is_told_without_it(
    mirror: Mirror, bare: Project, https: HttpsServer, settings: LazySettings
) -> None:
    settings.GIT_CREDENTIALS = https.url.replace("https://", "https://autopack:wrong-word@")
    with pytest.raises(SourceUnavailable) as told:
        mirror.fetch(f"{https.url}/shop.git", "main")
    assert "wrong-word" not in str(told.value)
    assert "YXV0b3BhY2s6d3Jvbmct" not in str(told.value)


def test_a_certificate_that_is_not_known_is_refused(
    mirror: Mirror, https: HttpsServer, settings: LazySettings
) -> None:
    settings.GIT_CA_FILE = ""
    with pytest.raises(SourceUnavailable, match="certificate"):
        mirror.fetch(f"{https.url}/shop.git", "main")
    assert https.asked == []


def test_a_redirect_gets_no_credential(mirror: Mirror, https: HttpsServer, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with https_server(other, other) as elsewhere:
        https.redirect_to = elsewhere.url
        with pytest.raises(SourceUnavailable):
            mirror.fetch(f"{https.url}/shop.git", "main")
        assert elsewhere.asked == []


def test_an_ssh_host_that_is_not_known_is_refused(
    mirror: Mirror, bare: Project, ssh: SshServer, settings: LazySettings, tmp_path: Path
) -> None:
    (tmp_path / "empty").touch()
    settings.GIT_KNOWN_HOSTS_FILE = str(tmp_path / "empty")
    with pytest.raises(SourceUnavailable, match="Host key verification failed"):
        mirror.fetch(f"{ssh.url}{bare.path}", "main")
    assert ssh.commands == []


def test_no_credential_stands_in_a_command_line(https: HttpsServer) -> None:
    there = Source.of(f"{https.url}/shop.git")
    argv = " ".join(command(["fetch", "--", there.address], place=None, protocols=(there.protocol,)))
    header = header_for(there.address, credentials(f"{https.url.replace('//', f'//{ROW}@')}"))
    assert header is not None
    assert header not in argv
    assert PASSWORD not in argv
    assert header in there.env().values()
    assert header not in environment(None).values()
    assert header not in os.environ.values()


@pytest.mark.parametrize(
    ("address", "password"),
    [
        ("https://git.example/any.git", "host"),
        ("https://GIT.example:443/any.git", "host"),
        ("https://git.example/team/shop.git", "team"),
        ("https://git.example/team/inner/shop.git", "inner"),
        ("https://git.example/teams/shop.git", "host"),
        ("https://git.example:8443/team/shop.git", "port"),
        ("https://git.example.evil/any.git", None),
        ("https://sub.git.example/any.git", None),
        ("https://git.example/team/../any.git", None),
        ("https://other.example/any.git", None),
        ("ssh://git.example/any.git", None),
        ("https://git.example:99999/any.git", None),
    ],
)
def test_the_longest_path_below_the_same_server_counts(address: str, password: str | None) -> None:
    rows = credentials(
        "# who we are\nhttps://u:host@git.example\n\nhttps://u:team@git.example/team/\n"
        "https://u:inner@git.example/team/inner\nhttps://u:port@git.example:8443\n"
    )
    expected = next((row.header for row in rows if row.password == password), None)
    assert (expected is None) is (password is None)
    assert header_for(address, rows) == expected


@pytest.mark.parametrize(
    "row",
    [
        "http://u:p@h",
        "https://u@h",
        "https://h/x",
        "https://u:p@",
        "nonsense",
        "https://u:p%0a@h",
        "https://u%3a:p@h",
    ],
)
def test_a_row_that_says_nothing_is_named_by_its_number_only(row: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="line 2") as told:
        credentials(f"https://a:b@c\n{row}")
    assert row not in str(told.value)
