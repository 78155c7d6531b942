"""Auditor: decides by rules, from its brief alone. It reads the patch, the gate's outcome and the scope.

Revise when the gate is red (naming the failing tests and the lines that the patch took away for good), when a
file is out of scope, or when new code reaches for a dangerous function. Approve otherwise.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

SUSPICIOUS = re.compile(
    r"\b(eval|exec|compile|__import__)\s*\(|\bos\.(system|popen|exec\w*|environ)\b"
    r"|\b(subprocess|socket|ctypes|pickle|marshal|urllib|requests|base64)\b"
)
GREEN = ("green", "flaky", "waived")


@dataclass(frozen=True)
class Line:
    """A line that a patch adds or removes. `number` counts in the new file for added lines, else the old."""

    path: str
    number: int
    is_added: bool
    text: str


def changed_lines(patch: str) -> list[Line]:
    """Return the added and removed lines of a git patch."""
    found: list[Line] = []
    path, old, new, old_left, new_left = "", 0, 0, 0, 0
    for text in patch.splitlines():
        if old_left > 0 or new_left > 0:
            if text.startswith("+"):
                found.append(Line(path, new, True, text[1:]))
                new, new_left = new + 1, new_left - 1
            elif text.startswith("-"):
                found.append(Line(path, old, False, text[1:]))
                old, old_left = old + 1, old_left - 1
            elif not text.startswith("\\"):
                old, new, old_left, new_left = old + 1, new + 1, old_left - 1, new_left - 1
        elif match := re.match(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@", text):
            old, new = int(match[1]), int(match[3])
            old_left, new_left = int(match[2] or 1), int(match[4] or 1)
        elif text.startswith("+++ b/"):
            path = text[len("+++ b/") :]
    return found


def changed_paths(patch: str) -> list[str]:
    """Return the files that a git patch names, sorted."""
    return sorted(set(re.findall(r"^diff --git a/(.+?) b/", patch, re.MULTILINE)))


def is_in_scope(path: str, scope: list[str]) -> bool:
    """Tell whether one of the globs covers path; no glob covers everything."""
    for glob in scope:
        folder, found, rest = glob.partition("**")
        if found and path.startswith(folder) and (rest in ("", "/*") or PurePosixPath(path).match(rest[1:])):
            return True
        if not found and PurePosixPath(path).match(glob):
            return True
    return not scope


def lost_lines(lines: list[Line]) -> list[Line]:
    """Return removed code that the patch adds nowhere again, comments and blanks left out."""
    kept = {line.text.strip() for line in lines if line.is_added}
    return [
        line
        for line in lines
        if not line.is_added
        and line.text.strip() not in kept
        and line.text.strip()
        and not line.text.strip().startswith("#")
    ]


def review(brief: dict[str, Any]) -> tuple[str, list[str]]:
    """Return (recommendation, reasons)."""
    target = brief.get("target")
    if not target or not target["patch"].strip():
        return "escalate", ["There is no patch to judge."]
    lines = changed_lines(target["patch"])
    gate = target.get("gate") or {}
    reasons: list[str] = []
    if gate.get("verdict") not in GREEN:
        reasons += red_reasons(target, gate, lines)
    reasons += [
        f"{path} is outside the phase's scope."
        for path in changed_paths(target["patch"])
        if not is_in_scope(path, brief["scope"])
    ]
    reasons += [
        f"{line.path}:{line.number} reaches for {match[0].strip('( ')}: {line.text.strip()[:120]}"
        for line in lines
        if line.is_added and (match := SUSPICIOUS.search(line.text))
    ]
    if reasons:
        return "revise", reasons
    paths = ", ".join(changed_paths(target["patch"]))
    return "approve", [
        f"The gate is green, {paths} in scope, {len(lines)} changed lines, no suspicious call."
    ]


def red_reasons(target: dict[str, Any], gate: dict[str, Any], lines: list[Line]) -> list[str]:
    """Return what a red gate tells: which tests, with what message, and which code is gone."""
    failing = gate.get("failing_tests") or []
    reasons = [
        f"The patch breaks behaviour: {len(failing)} tests fail."
        if failing
        else f"The patch did not pass: {target['failure_reason']}"
    ]
    for case in failing[:8]:
        message = " ".join(str(case.get("message", "")).split())[:160]
        reasons.append(f"- {case['id']}: {message}")
    lost = lost_lines(lines)
    if lost:
        reasons.append(
            "This code is gone and stands nowhere else; what it did must still happen at its place:"
        )
        reasons += [f"- {line.path}:{line.number} `{line.text.strip()}`" for line in lost[:12]]
    elif removed := [line for line in lines if not line.is_added and line.text.strip()]:
        first = removed[0]
        reasons.append(
            f"Look again at {first.path}:{first.number} `{first.text.strip()}`, which was taken out."
        )
    return reasons


def main() -> None:
    """Read the brief, judge, leave the verdict."""
    brief = json.loads(Path(os.environ["AUTOPACK_BRIEF"]).read_text(encoding="utf-8"))
    recommendation, reasons = review(brief)
    notes = "\n".join(reasons)
    print(f"{recommendation}: {notes}")
    result = {
        "recommendation": recommendation, "review_notes": notes, "confidence": "high", "tokens_used": 0,
    }  # fmt: skip
    Path(os.environ["AUTOPACK_RESULT"]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
