"""Hostile commands in bubblewrap: what they must not read, write or reach."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from pathlib import Path

import pytest

from integration.sandbox import runner
from integration.sandbox.spec import Command
from tests.integration.sandbox.conftest import PYTHON, Attempt, processes_with, wait_until

pytestmark = pytest.mark.sandbox


def test_a_program_of_the_venv_runs_on_the_checkout(attempt: Attempt) -> None:
    (attempt.checkout / "test_it.py").write_text("def test_it():\n    assert 6 * 7 == 42\n")
    command = attempt.command(str(PYTHON), "-m", "pytest", "-q", "-p", "no:cacheprovider")
    outcome, output = attempt.run(command)
    assert "1 passed" in output, output
    assert (outcome.reason, outcome.exit_code, outcome.sandbox) == ("exited", 0, "bubblewrap")
    assert outcome.cpu_s > 0.02
    assert outcome.peak_memory_bytes > 1_000_000


def test_a_bare_name_is_looked_up_on_the_path_of_the_command(attempt: Attempt) -> None:
    path = f"{PYTHON.parent}:/usr/bin:/bin"
    _, output = attempt.run(
        attempt.command(PYTHON.name, "-c", "import sys; print(sys.prefix)", env={"PATH": path})
    )
    assert output.strip() == sys.prefix


def test_what_the_command_writes_is_in_the_checkout_and_its_own(attempt: Attempt) -> None:
    outcome, output = attempt.shell("pwd; echo made > made; cat README; id -u")
    assert outcome.succeeded
    assert output.splitlines() == ["/checkout", "a file of the checkout", "1000"]
    made = attempt.checkout / "made"
    assert made.read_text() == "made\n"
    assert made.stat().st_uid == (attempt.uid or os.geteuid())


@pytest.mark.parametrize(
    "path",
    [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/hostname",
        "/proc/sys/vm/drop_caches",
        "/proc/sysrq-trigger",
        "/usr/bin/left-by-test",
        "/etc/passwd",
        "/etc/left-by-test",
        "/left-by-test",
        "/dev/left-by-test",
        "/home/left-by-test",
        "/var/left-by-test",
    ],
)
def test_a_write_outside_the_checkout_is_refused(attempt: Attempt, path: str) -> None:
    before = Path(path).read_bytes() if path.startswith("/proc/sys/kernel") else None
    outcome, output = attempt.shell(f"echo hostile > {path} && echo WRITTEN")
    assert "WRITTEN" not in output
    assert outcome.exit_code not in (0, None)
    if before is not None:
        assert Path(path).read_bytes() == before


def test_the_kernels_settings_are_mounted_read_only(attempt: Attempt) -> None:
    _, output = attempt.shell("cat /proc/self/mounts")
    options = {line.split()[1]: line.split()[3].split(",") for line in output.splitlines()}
    assert options["/proc/sys"][0] == options["/"][0] == options["/usr"][0] == options["/dev"][0] == "ro"
    assert options["/checkout"][0] == "rw"


def test_the_toolchain_is_read_only(attempt: Attempt) -> None:
    for folder in attempt.readonly_paths:
        _, output = attempt.shell(
            f"touch {folder}/hostile && echo WRITTEN; chmod 0777 {folder} && echo CHANGED"
        )
        assert "CHANGED" not in output


def test_other_checkouts_and_host_secrets_are_not_there(attempt: Attempt, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the host's secret")
    secret.chmod(0o644)
    neighbour = attempt.checkout.parent / "neighbour"
    neighbour.mkdir()
    (neighbour / "code").write_text("the neighbour's code")
    script = (
        f"cat {secret} {neighbour}/code ../neighbour/code /etc/shadow /root/.ssh/id_rsa; "
        "ls -A / /home /root /var /run /tmp /checkout/.."
    )
    _, output = attempt.shell(script)
    assert "the host's secret" not in output
    assert "the neighbour's code" not in output
    assert not {tmp_path.name, "closed", "neighbour"} & set(output.splitlines())


def test_the_environment_is_what_the_caller_chose(attempt: Attempt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOPACK_SECRET_KEY", "the-service-secret")
    _, output = attempt.run(attempt.command("env", env={"CHOSEN": "yes"}))
    names = {line.partition("=")[0] for line in output.splitlines()}
    assert "CHOSEN=yes" in output
    assert names == {"CHOSEN", "HOME", "PATH", "TMPDIR", "LANG", "PWD"}


def test_no_environment_of_any_process_of_the_host_can_be_read(attempt: Attempt) -> None:
    _, output = attempt.shell(
        "cat /proc/*/environ | tr '\\0' '\\n'; ls -d /proc/[0-9]* | wc -l", env={"MINE": "1"}
    )
    assert "MINE=1" in output
    assert "PYTEST_CURRENT_TEST" not in output
    assert int(output.splitlines()[-1]) < 8  # a process space of its own


def test_a_secret_of_the_environment_is_in_no_command_line(attempt: Attempt) -> None:
    secret, marker = "s3cr3t-of-the-agent", "3600.0123"
    seen: list[list[int]] = []

    def look() -> bool:
        if not processes_with(marker):
            return False
        seen.append(processes_with(secret))
        return True

    outcome, _ = attempt.run(attempt.command("sleep", marker, env={"TOKEN": secret}), should_stop=look)
    assert outcome.reason == "cancelled"
    assert seen == [[]]


def test_no_descriptor_of_the_service_is_inherited(attempt: Attempt, tmp_path: Path) -> None:
    (tmp_path / "open").write_text("an open file of the service")
    handle = os.open(tmp_path / "open", os.O_RDONLY)
    os.set_inheritable(handle, True)
    try:
        _, output = attempt.python("import os; print(sorted(map(int, os.listdir('/proc/self/fd'))))")
    finally:
        os.close(handle)
    assert output.strip() == "[0, 1, 2, 3]"  # 3 is the listing itself


@pytest.mark.enable_socket
def test_a_server_on_the_hosts_loopback_is_not_reached(attempt: Attempt) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        script = f"import socket; socket.create_connection(('127.0.0.1', {port}), 3); print('REACHED')"
        _, denied = attempt.python(script)
        _, allowed = attempt.python(script, network=True)
    assert "REACHED" not in denied
    assert "ConnectionRefusedError" in denied
    assert "REACHED" in allowed


@pytest.mark.enable_socket
def test_an_abstract_socket_of_the_host_is_not_reached(attempt: Attempt) -> None:
    name = f"autopack-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(f"\0{name}")
        server.listen()
        _, output = attempt.python(
            f"import socket; socket.socket(socket.AF_UNIX).connect('\\0{name}'); print('REACHED')"
        )
    assert "REACHED" not in output
    assert "ConnectionRefusedError" in output


def test_a_server_of_the_command_on_its_own_loopback_works(attempt: Attempt) -> None:
    outcome, output = attempt.python(
        "import socket\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "socket.create_connection(server.getsockname(), 3)\n"
        "print('talked')"
    )
    assert (outcome.exit_code, output) == (0, "talked\n")


def test_nested_user_namespaces_and_capabilities_are_denied(attempt: Attempt) -> None:
    _, output = attempt.python(
        "import ctypes, re\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "print('unshare', libc.unshare(0x10000000))\n"
        "print('chroot', libc.chroot(b'/tmp'))\n"
        "print('mount', libc.mount(b'none', b'/tmp', b'tmpfs', 0, None))\n"
        "status = open('/proc/self/status').read()\n"
        "print(re.findall(r'Cap(?:Prm|Eff|Bnd|Amb):\\s*(\\w+)', status))\n"
        "print(re.findall(r'NoNewPrivs:\\s*(\\d)', status))"
    )
    assert output.splitlines() == ["unshare -1", "chroot -1", "mount -1", f"{['0' * 16] * 4}", "['1']"]


def test_the_command_has_no_terminal(attempt: Attempt) -> None:
    _, output = attempt.python(
        "import os\n"
        "print(os.getsid(0) == os.getpid() or os.getsid(0) > 0, os.isatty(0), os.isatty(1))\n"
        "try:\n    os.open('/dev/tty', os.O_RDWR)\n"
        "except OSError as exc:\n    print('no terminal', exc.errno)"
    )
    assert output.splitlines() == ["True False False", "no terminal 6"]


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="system calls are numbered for x86-64")
def test_no_key_of_the_service_is_in_reach(attempt: Attempt) -> None:
    add_key, request_key, keyctl, session = 248, 249, 250, -3
    libc = ctypes.CDLL(None, use_errno=True)
    kept_from_us = libc.syscall(keyctl, 1, None) < 0  # else: a session keyring of our own, with a key in it
    name = f"autopack-test-{os.getpid()}".encode()
    if not kept_from_us:
        assert libc.syscall(add_key, b"user", name, b"secret", 6, session) > 0
        assert libc.syscall(request_key, b"user", name, None, 0) > 0
    _, output = attempt.python(
        f"import ctypes; print(ctypes.CDLL(None).syscall({request_key}, b'user', {name!r}, None, 0))"
    )
    assert output == "-1\n"


def test_no_setuid_program_gains_anything(attempt: Attempt) -> None:
    _, output = attempt.shell(
        "cp /usr/bin/id ./id && chmod 6755 ./id && ./id -u; grep -c nosuid /proc/self/mounts"
    )
    assert output.splitlines()[0] == "1000"
    assert int(output.splitlines()[-1]) > 3


def test_a_link_in_the_checkout_leads_to_the_inside_only(attempt: Attempt, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the host's secret")
    outcome, output = attempt.shell(f"ln -s {secret} link; cat link")
    assert outcome.exit_code != 0
    assert "the host's secret" not in output


def test_a_writable_path_is_writable_and_its_neighbours_are_absent(attempt: Attempt, tmp_path: Path) -> None:
    shared = tmp_path / "closed" / "shared"
    shared.mkdir()
    (tmp_path / "closed" / "other").write_text("other")
    if attempt.uid:
        os.chown(shared, attempt.uid, attempt.uid)
    outcome, output = attempt.shell(
        f"echo kept > {shared}/kept && ls {shared.parent}", writable_paths=(shared,)
    )
    assert outcome.succeeded, output
    assert (shared / "kept").read_text() == "kept\n"
    assert output.split() == ["shared"]


def test_the_evidence_names_the_sandbox(attempt: Attempt) -> None:
    outcome, _ = attempt.run(attempt.command("true"))
    assert outcome.sandbox == "bubblewrap"
    assert "/bwrap" in outcome.sandbox_detail


def test_bubblewrap_is_never_started_by_root(attempt: Attempt) -> None:
    marker = "3600.0456"
    uids: set[int] = set()

    def look() -> bool:
        for pid in processes_with(marker):
            status = Path(f"/proc/{pid}/status").read_text()
            uids.add(int(status.partition("Uid:")[2].split()[0]))
        return bool(uids)

    attempt.run(attempt.command("sleep", marker), should_stop=look)
    assert uids == {attempt.uid or os.geteuid()}


def test_the_hosts_mounts_are_as_before(attempt: Attempt) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    attempt.run(attempt.command("true"))
    assert Path("/proc/self/mountinfo").read_text() == before


def test_detection_tries_the_sandbox_for_real(attempt: Attempt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_found", {})
    assert runner.detect(attempt.uid).kind == "bubblewrap"
    monkeypatch.setattr(runner, "_found", {})
    monkeypatch.setattr(runner.bubblewrap, "program", lambda: "/bin/false")
    found = runner.detect(attempt.uid)
    assert found.kind == "none"
    assert "does not work here" in found.detail


def test_a_command_of_a_missing_program_fails_to_start(attempt: Attempt) -> None:
    outcome, _ = attempt.run(attempt.command("/usr/bin/no-such-program"))
    assert (outcome.reason, outcome.exit_code) == ("start_failed", None)
    assert "No such file" in outcome.detail


def test_mount_at_moves_the_checkout(attempt: Attempt) -> None:
    command = Command(argv=("pwd",), cwd=attempt.checkout, mount_at=Path("/build/here"))
    outcome, output = attempt.run(command)
    assert outcome.succeeded
    assert output == "/build/here\n"
    assert runner.visible_checkout(command, attempt.uid) == Path("/build/here")
    assert wait_until(lambda: not processes_with("/build/here"))
