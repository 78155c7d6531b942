"""The roles of people in the admin, as groups with exact permissions: viewer, operator, administrator.

A viewer sees everything and changes nothing; an operator also acts on runs, issues and work that is stuck; an
administrator also has projects, rules, tokens, people and the schedule. Each role holds what the one before it does.
`create_roles` brings the groups to what stands here; a hand's change of a group lasts until then.
"""

from __future__ import annotations

from django.contrib.auth.models import Group, Permission
from django.db import transaction
from django.db.models import Q

from autopack_site.kernel.errors import AutopackError

VIEWER, OPERATOR, ADMINISTRATOR = "viewer", "operator", "administrator"
SEEN_APPS = ("admin", "auth", "django_celery_beat", "integration", "issues", "runs", "strategy")
OPERATES = frozenset(
    {
        "integration.change_gaterun",  # send a gate run again
        "integration.change_gitintent",  # send the undoing of a branch move again
        "issues.change_backlogentry",  # accept, resolve
        "runs.change_outbox",  # send a message again
        "runs.change_run",  # cancel, wake
    }
)
ADMINISTERS = frozenset(
    {
        "auth.add_user",
        "auth.change_user",
        "django_celery_beat.change_periodictask",  # pause, resume, run now
        "runs.add_apitoken",
        "runs.change_apitoken",  # revoke
        "strategy.add_project",
        "strategy.add_ruleset",
        "strategy.change_project",
    }
)
ROLES: dict[str, frozenset[str]] = {
    VIEWER: frozenset(),
    OPERATOR: OPERATES,
    ADMINISTRATOR: OPERATES | ADMINISTERS,
}


class PermissionMissing(AutopackError):
    """A role names a permission that no app declares: the code and the database differ."""

    code, status = "permission-missing", 500
    title = "A role names a permission that does not exist"


@transaction.atomic
def create_roles() -> None:
    """Create the groups, or bring them to exactly their permissions. Raises PermissionMissing. Safe to repeat."""
    seen = set(Permission.objects.filter(content_type__app_label__in=SEEN_APPS, codename__startswith="view_"))
    for name, wanted in ROLES.items():
        group, _ = Group.objects.get_or_create(name=name)
        group.permissions.set(seen | _found(wanted))


def _found(names: frozenset[str]) -> set[Permission]:
    wanted = Q(pk=None)
    for name in names:
        app, codename = name.split(".")
        wanted |= Q(content_type__app_label=app, codename=codename)
    found = set(Permission.objects.filter(wanted).select_related("content_type"))
    missing = names - {f"{one.content_type.app_label}.{one.codename}" for one in found}
    if missing:
        raise PermissionMissing(f"No such permission: {', '.join(sorted(missing))}")
    return found
