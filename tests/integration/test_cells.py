"""A project that demands a sandbox gets one, or nothing of it is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from integration import cells
from integration.sandbox.runner import Detection


def test_nothing_runs_where_a_demanded_sandbox_is_missing(
    tmp_path: Path, settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.UID_LOCK_DIR = tmp_path
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    monkeypatch.setattr(cells.runner, "detect", lambda uid: Detection("none", "bubblewrap is not installed"))
    with pytest.raises(cells.SandboxRequired) as refused, cells.cell(checkout, require_sandbox=True):
        pytest.fail("the block ran")
    assert refused.value.code == "sandbox-required"
    assert "bubblewrap is not installed" in refused.value.detail


def test_a_project_that_demands_none_runs_without(
    tmp_path: Path, settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.UID_LOCK_DIR = tmp_path
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    monkeypatch.setattr(cells.runner, "detect", lambda uid: Detection("none", "bubblewrap is not installed"))
    with cells.cell(checkout) as place:
        assert place.sandbox.kind == "none"
