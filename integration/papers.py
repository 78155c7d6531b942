"""The papers of a command agent: the brief as JSON and Markdown, and the result that it may leave.

The agent reads `$AUTOPACK_BRIEF` (JSON) or `$AUTOPACK_BRIEF_MD`, and may write `$AUTOPACK_RESULT` (JSON):
`{status, tokens_used, usage, notes, suggested_issues: [...]}` for a build, and `{recommendation, review_notes,
issues_found: [...], suggested_patches: [...], confidence, tokens_used}` for an audit. While it works it may write
`$AUTOPACK_USAGE` (lines of JSON) and read `$AUTOPACK_BUDGET`. All of it is hostile.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from integration.sandbox.collect import collect
from runs import meters
from runs.budgets import UNKNOWN_USAGE, Usage
from runs.figures import Figures, count_of, read
from runs.ports import IssueReport

RESULT = "result.json"
MAX_RESULT_BYTES = 8 * 1024 * 1024
MAX_ISSUES = 200


class BadResult(ValueError):
    """The agent's result file can't be understood; the message says why."""


def write_brief(folder: Path, brief: dict[str, Any], *, usage: Path, budget: Path) -> dict[str, str]:
    """Write brief.json and brief.md into folder; return the environment that names them.

    `usage` is the file that the agent may write its usage to, `budget` the one that tells what is left.
    """
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    brief = {**brief, "files": {"usage": str(usage), "budget": str(budget)}}
    (folder / "brief.json").write_text(json.dumps(brief, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (folder / "brief.md").write_text(as_markdown(brief), encoding="utf-8")
    for name in ("brief.json", "brief.md"):
        (folder / name).chmod(0o644)
    phase = brief["phase"]
    return {
        "AUTOPACK_BRIEF": str(folder / "brief.json"),
        "AUTOPACK_BRIEF_MD": str(folder / "brief.md"),
        "AUTOPACK_USAGE": str(usage),
        "AUTOPACK_BUDGET": str(budget),
        "AUTOPACK_RUN_ID": brief["run_id"],
        "AUTOPACK_PHASE_ID": phase["phase_id"],
        "AUTOPACK_TASK_CATEGORY": phase["task_category"],
        "AUTOPACK_ATTEMPT": str(brief["attempt"]["number"]),
        "AUTOPACK_BASE_COMMIT": brief["base_commit"],
    }


def as_markdown(brief: dict[str, Any]) -> str:
    """Return the brief for an agent that reads prose."""
    phase, limits = brief["phase"], brief["limits"]
    lines = [
        f"# {phase['name']}",
        "",
        phase["description"] or "(no further description)",
        "",
        f"- run `{brief['run_id']}`, phase `{phase['phase_id']}`, attempt {brief['attempt']['number']}",
        f"- category {phase['task_category']}, complexity {phase['complexity']}, mode {phase['builder_mode']}",
        f"- base commit `{brief['base_commit']}`",
        "- you may change: "
        + (", ".join(f"`{glob}`" for glob in brief["scope"]) or "any file of the project"),
        f"- tokens held for this attempt: {limits['tokens_reserved']}; write what is used to `$AUTOPACK_USAGE`, read"
        " what is left in `$AUTOPACK_BUDGET`",
        "",
    ]
    if brief["notes"]:
        lines += ["## What the last review asked for", "", brief["notes"], ""]
    if brief["previous"]:
        lines += ["## Earlier attempts", ""]
        for row in brief["previous"]:
            lines.append(f"- attempt {row['number']}: {row['state']} ({row['code']}): {row['reason']}")
        lines.append("")
    if brief.get("target"):
        target = brief["target"]
        lines += [
            "## The patch under review",
            "",
            f"state {target['state']}, hash `{target['patch_hash']}`; {target['failure_reason']}",
            "",
            *[f"    {line}" for line in target["patch"].splitlines()],
            "",
        ]
    return "\n".join(lines)


def read_result(folder: Path) -> dict[str, Any]:
    """Return the result that the agent left, {} when it left none; raise BadResult for one that is unsound."""
    found = collect(folder, RESULT, max_bytes=MAX_RESULT_BYTES)[0]
    if found.status == "missing":
        return {}
    if found.status != "ok":
        raise BadResult(f"the result file is {found.status.replace('_', ' ')}")
    try:
        value = json.loads(found.data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadResult("the result file is not JSON") from error
    if not isinstance(value, dict):
        raise BadResult("the result file does not hold an object")
    return value


def usage_of(result: dict[str, Any], seen: Figures) -> Usage:
    """Return what the agent says it used, in its result and before it; not saying is unknown, never 0."""
    detail = result.get("usage")
    told = read(detail)
    if told.total is None:
        told = read({"tokens": count_of(result.get("tokens_used"))}).grown(told)[0]
    figures, _lower = seen.grown(told)
    if figures.total is None:
        return UNKNOWN_USAGE
    return meters.usage_from(figures)


def text_of(result: dict[str, Any], *names: str) -> str:
    """Return the first of the fields that is a text, without NUL, bounded."""
    for name in names:
        value = result.get(name)
        if isinstance(value, str):
            return value.replace("\0", "")[:20_000]
    return ""


def issues_of(result: dict[str, Any], *names: str, source: str) -> tuple[IssueReport, ...]:
    """Return the issues that the agent suggests; entries that are no issues are left out."""
    rows: list[Any] = next((result[name] for name in names if isinstance(result.get(name), list)), [])
    reports: list[IssueReport] = []
    for row in rows[:MAX_ISSUES]:
        if not isinstance(row, dict) or not text_of(row, "issue_key"):
            continue
        severity = row.get("severity")
        refs = row.get("evidence_refs")
        reports.append(
            IssueReport(
                issue_key=text_of(row, "issue_key"),
                severity=severity if severity in ("minor", "major") else "minor",
                source=(text_of(row, "source") or source)[:64],
                category=(text_of(row, "category") or "uncategorised")[:64],
                evidence_refs=tuple(str(ref)[:500] for ref in refs[:50]) if isinstance(refs, list) else (),
                description=text_of(row, "description")[:2000],
            )
        )
    return tuple(reports)
