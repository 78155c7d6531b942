"""Where each artefact lies, as parts below the root. Every name is made of validated ids and constants."""

from __future__ import annotations

import re

from autopack_site.kernel.ids import is_valid_id
from integration.artefacts.errors import UnsafeName

Place = tuple[str, ...]

SUMMARY: Place = ("run_summary.md",)
STRATEGY: Place = ("project_implementation_strategy_v1.json",)
ISSUE_INDEX: Place = ("issues", "run_issue_index.json")
BACKLOG_NAME = "project_issue_backlog.json"
INCIDENT = "incident"
# What lies beside the run folders: a run of such a name would take a project file's place.
_RESERVED = re.compile(r"project_issue_backlog\.json|project_ruleset_.*\.json", re.IGNORECASE)


def checked(value: str) -> str:
    """Return an id that is fit to be part of a file name; raise UnsafeName."""
    if not is_valid_id(value):
        raise UnsafeName(f"Not an id that can name a file: {value!r:.200}")
    return value


def run_folder(run_id: str) -> Place:
    """Return a run's folder. Raises UnsafeName."""
    if _RESERVED.fullmatch(run_id):
        raise UnsafeName(f"A run's folder can't be called {run_id}: a project's file is")
    return (checked(run_id),)


def tier_file(index: int, tier_id: str) -> Place:
    """Return `tiers/tier_{idx:02}_{tier_id}.md`."""
    return ("tiers", f"tier_{index:02}_{checked(tier_id)}.md")


def phase_file(index: int, phase_id: str) -> Place:
    """Return `phases/phase_{idx:02}_{phase_id}.md`."""
    return ("phases", f"phase_{index:02}_{checked(phase_id)}.md")


def phase_issues_file(index: int, phase_id: str) -> Place:
    """Return `issues/phase_{idx:02}_{phase_id}_issues.json`."""
    return ("issues", f"phase_{index:02}_{checked(phase_id)}_issues.json")


def patch_file(index: int, phase_id: str, kind: str, number: int) -> Place:
    """Return `incident/patches/phase_{idx:02}_{phase_id}_{kind}_{n}.diff`."""
    return (INCIDENT, "patches", f"phase_{index:02}_{checked(phase_id)}_{checked(kind)}_{number}.diff")


def backlog_file(project_id: str, *, is_default: bool) -> Place:
    """Return the project's backlog: at the root for the default project, else in a folder of its name."""
    return (BACKLOG_NAME,) if is_default else (*run_folder(project_id), BACKLOG_NAME)


def ruleset_file(project_id: str) -> Place:
    """Return `project_ruleset_{project_id}.json`, at the root."""
    return (f"project_ruleset_{checked(project_id)}.json",)
