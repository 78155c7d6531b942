"""What `manage.py doctor` looks at: each finding says what is so, and what to do where it should not be."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from autopack_site.embedded.accounts import Account, run_as
from integration.cells import SYSTEM_PATH
from integration.sandbox.visibility import advice as toolchain_advice
from integration.sandbox.visibility import hidden_paths, missing_toolchains
from strategy.config import ProjectConfig
from strategy.config_advice import gaps
from strategy.models import Project

MINIMUM_GIT = (2, 39)
_LIMIT_S = 20
_SERVICES_ADVICE = "start everything with `make up`, or set {} to your server's address"
# A path that Git stores but macOS opens as .git (SAFETY, Git): only core.protectHFS refuses it.
_HFS_ALIAS = ".g\u200cit/config"
_EMPTY_BLOB = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One line of the report. `advice` is empty where nothing is to be done."""

    subject: str
    level: Level
    detail: str
    advice: str = ""


def examine() -> list[Finding]:
    """Return every finding, worst news included; one examination's failure never hides the others."""
    examinations: list[Callable[[], Iterator[Finding]]] = [git, sandbox, database, broker, projects]
    return [finding for examination in examinations for finding in examination()]


def git() -> Iterator[Finding]:
    """Git's version, and that its defences work rather than that they are named."""
    advice = f"install git {MINIMUM_GIT[0]}.{MINIMUM_GIT[1]} or newer (Debian: apt-get install git)"
    program = shutil.which("git")
    if program is None:
        yield Finding("git", "fail", "there is no git on PATH", advice)
        return
    try:
        yield from _git_findings(program, advice)
    except (OSError, subprocess.SubprocessError) as error:
        yield Finding(
            "git", "fail", f"{program} can't be tried: {_first_line(error)}",
            "start it by hand (git --version); a program of that name which hangs or fails comes first on PATH, "
            "or its disk does not answer",
        )  # fmt: skip


def _git_findings(program: str, advice: str) -> Iterator[Finding]:
    """What `git` finds. Raises OSError and SubprocessError where git does not start, or hangs."""
    text = _run([program, "--version"]).stdout.strip()
    found = re.search(r"(\d+)\.(\d+)", text)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    yield Finding("git", "ok", text) if version >= MINIMUM_GIT else Finding("git", "fail", text, advice)
    with tempfile.TemporaryDirectory(prefix="autopack-doctor-") as folder:
        bare = Path(folder)
        _run([program, "init", "--quiet", "--bare", "."], cwd=bare)
        implicit = _run([program, "-c", "safe.bareRepository=explicit", "rev-parse", "--git-dir"], cwd=bare)
        add = [program, "--git-dir", str(bare), "-c", "core.protectHFS=true", "update-index", "--add"]
        harmless = _run([*add, "--cacheinfo", f"100644,{_EMPTY_BLOB},git/config"], cwd=bare)
        alias = _run([*add, "--cacheinfo", f"100644,{_EMPTY_BLOB},{_HFS_ALIAS}"], cwd=bare)
    holes = [
        name
        for name, done in (("safe.bareRepository", implicit), ("core.protectHFS", alias))
        if done.returncode == 0
    ]
    if harmless.returncode != 0:
        yield Finding("git defences", "fail", f"can't be tried: {harmless.stderr.strip()[:300]}", advice)
    elif holes:
        yield Finding("git defences", "fail", f"without effect here: {', '.join(holes)}", advice)
    else:
        yield Finding("git defences", "ok", "safe.bareRepository and core.protectHFS refuse what they should")


def sandbox() -> Iterator[Finding]:
    """That bubblewrap runs a program in namespaces of its own as the account that gates get."""
    program = shutil.which("bwrap")
    if program is None:
        yield Finding(
            "sandbox", "warn", "there is no bwrap: gates run unconfined, and their evidence says so",
            "install bubblewrap (Debian: apt-get install bubblewrap)",
        )  # fmt: skip
        return
    as_root = os.geteuid() == 0
    number = settings.SANDBOX_UID_BASE if as_root else os.geteuid()
    argv = [
        program, "--unshare-all", "--unshare-user", "--disable-userns", "--new-session", "--die-with-parent",
        "--cap-drop", "ALL", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "/bin/true",
    ]  # fmt: skip
    try:
        done = run_as(Account(number, number, is_other=as_root), argv, cwd=Path("/"), limit_s=_LIMIT_S)
        complaint = done.stderr.decode(errors="replace").strip() if done.returncode else ""
        failed = done.returncode != 0
    except (OSError, subprocess.TimeoutExpired) as error:
        complaint, failed = str(error), True
    if failed:
        yield Finding(
            "sandbox", "warn", f"bwrap fails as uid {number}: {complaint[:300]}",
            "allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1 or "
            "kernel.apparmor_restrict_unprivileged_userns=0; in a container, a seccomp profile that permits "
            "them)",
        )  # fmt: skip
    else:
        yield Finding("sandbox", "ok", f"bubblewrap runs as uid {number} with namespaces of its own")


def database() -> Iterator[Finding]:
    """PostgreSQL, and whether its tables are this version's."""
    try:
        connection.ensure_connection()
        version = connection.cursor().connection.info.server_version
    except DatabaseError as error:
        yield Finding("PostgreSQL", "fail", _first_line(error), _SERVICES_ADVICE.format("DATABASE_URL"))
        return
    yield Finding("PostgreSQL", "ok", f"version {version // 10000}.{version % 10000} answers")
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        names = ", ".join(f"{step.app_label}.{step.name}" for step, _ in missing[:3])
        yield Finding(
            "migrations", "fail", f"{len(missing)} not applied ({names} ...)",
            "apply them: .venv/bin/python manage.py migrate",
        )  # fmt: skip
    else:
        yield Finding("migrations", "ok", "all applied")


def broker() -> Iterator[Finding]:
    """Redis."""
    client = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=5, socket_connect_timeout=5)
    try:
        with client:
            version = client.info("server")["redis_version"]
        yield Finding("Redis", "ok", f"version {version} answers")
    except redis.RedisError as error:
        yield Finding("Redis", "fail", _first_line(error), _SERVICES_ADVICE.format("AUTOPACK_REDIS_URL"))


def projects() -> Iterator[Finding]:
    """That each program which a project's configuration names can be started."""
    try:
        known = list(Project.objects.order_by("project_id"))
    except DatabaseError:
        yield Finding(
            "projects", "warn", "not looked at: the database does not answer or lacks its tables",
            "mend what PostgreSQL and migrations say above, then run this again",
        )  # fmt: skip
        return
    if not known:
        yield Finding(
            "projects", "warn", "there is none",
            "add one: .venv/bin/python manage.py project add PATH_OR_URL --config autopack.yaml",
        )  # fmt: skip
    for project in known:
        config = project.settings
        missing = sorted(
            {words[0] for words, chains in commands(config) if not can_be_started(words[0], chains)}
        )
        subject = f"project {project.project_id}"
        for lack, advice in gaps(config):
            yield Finding(subject, "warn", lack, advice.replace(" ID ", f" {project.project_id} "))
        for path in hidden(config):
            yield Finding(
                subject, "warn", f"{path} is named by a command and not seen inside its sandbox",
                toolchain_advice([path]),
            )  # fmt: skip
        if absent := absent_toolchains(config):
            yield Finding(
                subject, "fail", f"toolchains that are not there: {', '.join(absent)}",
                "correct the paths, or make the folders: without them none of its commands can run",
            )  # fmt: skip
        if missing:
            yield Finding(
                subject, "fail", f"programs not found: {', '.join(missing)}",
                "install them, name them by absolute paths, or list their folder under `toolchains`",
            )  # fmt: skip
        elif not absent:
            yield Finding(subject, "ok", "all programs that it names were found")


def hidden(config: ProjectConfig) -> list[str]:
    """Return the files and folders of this machine that commands name and their sandboxes don't show."""
    return sorted({path for words, chains in commands(config) for path in hidden_paths(words, chains)})


def absent_toolchains(config: ProjectConfig) -> list[str]:
    """Return the toolchains, of the project, its gate or one agent, that this machine does not have."""
    chains = (chain for _, seen in commands(config) for chain in seen)
    return missing_toolchains(list(dict.fromkeys((*config.toolchains, *chains))))


def commands(config: ProjectConfig) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Yield the words of each command, its program first, and the toolchains that it sees: setup, gate, agents."""
    for step in (*config.setup, *config.normal, *config.strict):
        yield step.words, config.gate_toolchains
    for agent in (*config.builders, *config.auditors):
        if agent.argv:
            yield agent.argv, config.toolchains_of(agent)


def can_be_started(program: str, toolchains: Sequence[str]) -> bool:
    """Tell whether `program` is found as its sandbox looks for it; what a checkout brings can't be told."""
    if "/" in program and not program.startswith("/"):
        return True
    folders = [str(place) for folder in toolchains for place in (Path(folder) / "bin", Path(folder))]
    return shutil.which(program, path=os.pathsep.join([*folders, SYSTEM_PATH])) is not None


def _run(argv: list[str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a git command that no configuration of this machine or user can bend.

    Raises OSError where it does not start, and TimeoutExpired where it takes longer than `_LIMIT_S` seconds.
    """
    environment = {
        "PATH": os.environ.get("PATH", os.defpath), "HOME": os.devnull, "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull,
    }  # fmt: skip
    return subprocess.run(
        argv, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=_LIMIT_S, check=False,
    )  # fmt: skip


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
