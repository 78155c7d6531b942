"""The admin's menu, by job: what a person on call looks for, in the order in which they look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import reverse


@dataclass(frozen=True)
class Entry:
    """One line of the menu: a route's name, and the permission without which it isn't shown ("" is none)."""

    title: str
    icon: str
    route: str
    permission: str = ""


def _table(title: str, icon: str, app: str, model: str) -> Entry:
    return Entry(title, icon, f"admin:{app}_{model}_changelist", f"{app}.view_{model}")


GROUPS: tuple[tuple[str, tuple[Entry, ...]], ...] = (
    (
        "Runs",
        (
            Entry("Board", "dashboard", "console:board", "runs.view_run"),
            Entry("Trends", "monitoring", "console:trends", "runs.view_run"),
            _table("All runs", "rocket_launch", "runs", "run"),
            _table("Events", "history", "runs", "transition"),
        ),
    ),
    (
        "Work",
        (
            _table("Phases", "account_tree", "runs", "phase"),
            _table("Attempts", "build", "runs", "attempt"),
            _table("Gate runs", "verified", "integration", "gaterun"),
            _table("Leases", "lock_clock", "runs", "lease"),
            _table("Branch moves", "merge", "integration", "gitintent"),
            _table("Open work", "outbox", "runs", "outbox"),
            Entry("Stuck work", "report", "console:stuck", "runs.view_outbox"),
        ),
    ),
    (
        "Issues",
        (
            _table("Backlog", "bug_report", "issues", "backlogentry"),
            _table("By run", "list_alt", "issues", "runindexentry"),
            _table("By phase", "flag", "issues", "issue"),
        ),
    ),
    (
        "Rules",
        (
            _table("Projects", "folder_open", "strategy", "project"),
            _table("Rulesets", "gavel", "strategy", "ruleset"),
            _table("Strategies", "strategy", "strategy", "strategy"),
        ),
    ),
    (
        "Access",
        (
            _table("Tokens", "key", "runs", "apitoken"),
            _table("Agents", "smart_toy", "runs", "agent"),
            _table("People", "person", "auth", "user"),
            _table("Roles", "group", "auth", "group"),
        ),
    ),
    (
        "System",
        (
            _table("Token ledger", "receipt_long", "runs", "tokenentry"),
            _table("Schedule", "schedule", "django_celery_beat", "periodictask"),
            _table("Audit trail", "policy", "admin", "logentry"),
        ),
    ),
)


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the menu as django-unfold takes it: what this user may see, the page they are on marked."""
    allowed = [
        (title, [(entry, reverse(entry.route)) for entry in entries if _may_see(request, entry)])
        for title, entries in GROUPS
    ]
    links = [link for _, entries in allowed for _, link in entries if request.path.startswith(link)]
    here = max(links, key=len, default=None)
    return [
        {
            "title": title,
            "separator": number > 0,
            "items": [
                {"title": entry.title, "icon": entry.icon, "link": link, "active": link == here}
                for entry, link in entries
            ],
        }
        for number, (title, entries) in enumerate(allowed)
        if entries
    ]


def _may_see(request: HttpRequest, entry: Entry) -> bool:
    return not entry.permission or request.user.has_perm(entry.permission)
