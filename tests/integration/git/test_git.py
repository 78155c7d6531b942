"""The one place that runs git: hardened in every call, bounded in time and output, inheriting nothing."""

from __future__ import annotations

import ast
import os
import re
import shutil
import time
from pathlib import Path

import pytest

from integration import git
from integration.collect import collect
from integration.git import DIFFING, HARDENING, Place
from integration.git_errors import GitFailed, GitMissing, GitOutputTooLarge, GitTimedOut
from integration.mirror import Mirror
from integration.refs import branch_ref, tag_ref
from tests.integration.git.conftest import Project, build, new_file

WRAPPER = """#!/bin/sh
log={log}/$(date +%s%N).$$
for argument in "$@"; do printf '%s\\0' "$argument"; done > $log.argv
cat /proc/$$/environ > $log.env
exec {real} "$@"
"""
INHERITED = {"PATH"}
FIXED = {
    "HOME": "/dev/null",
    "XDG_CONFIG_HOME": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "true",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_PROTOCOL_FROM_USER": "0",
    "GIT_GRAFT_FILE": "/dev/null/none",
    "LC_ALL": "C",
    "TZ": "UTC",
}
OWN = {"GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES"}
IDENTITY = {"GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"}
SERVING = {"upload-pack", "receive-pack"}


def test_every_call_of_a_full_flow_is_hardened(
    tmp_path: Path, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.which("git")
    log = tmp_path / "trace"
    log.mkdir()
    wrapper = tmp_path / "bin" / "git"
    wrapper.parent.mkdir()
    wrapper.write_text(WRAPPER.format(log=log, real=real))
    wrapper.chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
        patched.setenv("GIT_DIR", "/somewhere/else")
        patched.setenv("GIT_EXTERNAL_DIFF", "touch /tmp/never")
        patched.setenv("AUTOPACK_SECRET_KEY", "hidden")
        mirror = Mirror(tmp_path / "m.git")
        mirror.create()
        base = mirror.fetch(project.path, "main")
        made = build(mirror, base, new_file("src/new.py"))
        build(mirror, base, new_file("src/new.py"))  # again, so that trees are listed that exist
        mirror.keep("run1", "p1", 1, made.sha)
        mirror.update_ref(branch_ref("run1"), made.sha, None)
        mirror.push(project.path, [(made.sha, branch_ref("run1")), (made.sha, tag_ref("run1", "p1"))])
        mirror.checkout(made.sha, tmp_path / "plain")
        work = mirror.checkout(made.sha, tmp_path / "work", history=3).path
        (work / "src" / "more.py").write_text("more\n")
        collect(mirror, base=made.sha, directory=work)
        mirror.diff(base, made.sha)
        mirror.commit_info(made.sha)
        mirror.count(base, made.sha)
        mirror.is_ancestor(base, made.sha)
        mirror.refs("refs/autopack")
        mirror.delete_ref(branch_ref("run1"), made.sha)
        mirror.fsck()
        mirror.pack()
    calls = []
    for path in sorted(log.glob("*.argv")):
        argv = path.read_bytes().decode().split("\0")[:-1]
        env = dict(
            row.split("=", 1) for row in path.with_suffix(".env").read_bytes().decode().split("\0")[:-1]
        )
        calls.append((argv, env))
    names = set()
    for argv, env in calls:
        if argv[:1] == ["--exec-path"]:
            continue
        config, rest = [], []
        at = 0
        while at < len(argv):
            if argv[at] == "-c":
                config.append(argv[at + 1])
                at += 2
            else:
                rest.append(argv[at])
                at += 1
        command = next(word for word in rest if not word.startswith("-"))
        names.add(command)
        given = dict(value.split("=", 1) for value in config)
        wanted = dict(value.split("=", 1) for value in HARDENING)
        if command in SERVING:
            wanted.pop("safe.bareRepository")
        if command == "check-ignore":
            wanted.pop("core.excludesFile")
        assert wanted.items() <= given.items(), argv
        allowed = {key for key in given if re.fullmatch(r"protocol\..*\.allow", key)}
        speaks = {"protocol.file.allow"} if command in ("fetch", "push", "ls-remote") else set()
        assert allowed == speaks, argv
        if command not in SERVING:
            assert any(word.startswith("--git-dir=/") for word in rest), argv
        if command in DIFFING:
            assert {"--no-ext-diff", "--no-textconv"} <= set(rest), argv
        # `check-ignore` knows no literal pathspecs: its names begin with `./` (see `collect`).
        fixed = {**FIXED, "GIT_LITERAL_PATHSPECS": "0"} if command == "check-ignore" else FIXED
        assert fixed.items() <= env.items(), argv
        # What the shell that records adds is no business of git's caller.
        extra = env.keys() - FIXED.keys() - INHERITED - OWN - IDENTITY - {"PWD", "OLDPWD", "SHLVL", "_"}
        assert not {key for key in extra if key != "GIT_PROTOCOL"}, argv
    expected = {"fetch", "push", "ls-remote", "read-tree", "apply", "write-tree", "diff-tree", "update-ref",
                "checkout-index", "pack-objects", "check-ignore", "diff-index", "update-index", "rev-parse",
                "upload-pack", "receive-pack", "log", "rev-list", "merge-base", "fsck"}  # fmt: skip
    assert expected <= names


def test_no_other_module_starts_a_process_or_imports_a_way_to() -> None:
    folder = Path(git.__file__).parent
    mine = "candidate checkouts collect diffs diff_types indexes judge locks mirror names objects quarantine"
    for name in (*mine.split(), "refs", "strict", "sources", "secret_shapes", "git_errors", "patch_errors"):
        tree = ast.parse((folder / f"{name}.py").read_text())
        imported = {
            alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
        }
        assert not imported & {"subprocess", "pty", "multiprocessing"}, name


def test_time_limit_kills_the_whole_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pid_file = tmp_path / "pid"
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text(f"#!/bin/sh\nsleep 600 &\necho $! > {pid_file}\nwait\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    started = time.monotonic()
    with pytest.raises(GitTimedOut):
        git.run("status", place=None, timeout_s=0.5)
    assert time.monotonic() - started < 10
    grandchild = int(pid_file.read_text())
    deadline = time.monotonic() + 10
    while Path(f"/proc/{grandchild}/stat").exists():
        if Path(f"/proc/{grandchild}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            break
        assert time.monotonic() < deadline, "the grandchild lives on"


def test_output_is_bounded(mirror: Mirror) -> None:
    with pytest.raises(GitOutputTooLarge):
        git.run("rev-parse", "--git-dir", place=mirror.place, max_output_bytes=3)


def test_large_input_and_output_pass_at_once(mirror: Mirror) -> None:
    text = os.urandom(3_000_000).hex().encode()
    name = git.run("hash-object", "-w", "--stdin", place=mirror.place, stdin=text).text
    assert git.run("cat-file", "blob", name, place=mirror.place).stdout == text


def test_failure_tells_status_and_words(mirror: Mirror) -> None:
    with pytest.raises(GitFailed) as failure:
        git.run("cat-file", "-p", "nothing", place=mirror.place)
    assert failure.value.exit_status == 128
    assert "nothing" in failure.value.stderr


def test_missing_git_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(GitMissing):
        git.run("version", place=None)


def test_planted_configuration_runs_nothing(
    tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    mark = tmp_path / "ran"
    (home / ".gitconfig").write_text(f"[core]\n\tfsmonitor = touch {mark}\n[alias]\n\tx = !touch {mark}\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.fsmonitor")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", f"touch {mark}")
    assert git.run("config", "--list", place=Place(git_dir=mirror.path)).text.count("fsmonitor") == 1
    assert not mark.exists()
