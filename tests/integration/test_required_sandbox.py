"""Where the sandbox must work, as in CI, its tests fail without it; elsewhere they say why they are skipped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

TEST = "tests/integration/sandbox/test_isolation.py::test_the_kernels_settings_are_mounted_read_only"

HIDING = """
def pytest_configure(config):
    from integration.sandbox import bubblewrap
    bubblewrap.SEARCH_PATH = "/nonexistent"
"""


@pytest.mark.parametrize(("required", "status", "said"), [("1", 1, "1 error"), ("", 0, "1 skipped")])
def test_hidden_bubblewrap(required: str, status: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "hiding.py").write_text(HIDING)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "AUTOPACK_REQUIRE_SANDBOX": required}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "-pno:cacheprovider", "-pno:xdist", "-phiding", TEST],
        cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == status, done.stdout[-3000:] + done.stderr[-1000:]
    assert said in done.stdout
    assert "bwrap" in done.stdout or "bubblewrap" in done.stdout


def test_ci_requires_it() -> None:
    script = (settings.BASE_DIR / ".ci" / "run").read_text(encoding="utf-8")
    assert "export AUTOPACK_REQUIRE_SANDBOX=1" in script
    assert script.rstrip().splitlines()[-1].startswith("exec make test")
