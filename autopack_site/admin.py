"""What no app of ours owns: people and their roles, the beat's schedule, the audit trail."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)
from unfold.admin import ModelAdmin
from unfold.decorators import action
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from autopack_site import schedule
from strategy.admin import DecidingAdmin, Decision, ReadOnlyAdmin, foreign
from strategy.admin.base import LIST_CHARS

for model in (User, Group, PeriodicTask, ClockedSchedule, CrontabSchedule, IntervalSchedule, SolarSchedule):
    admin.site.unregister(model)

_FOR_SUPERUSERS = ("is_superuser", "user_permissions")


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):
    """People. Who is not a superuser makes none, and changes none.

    Nobody is deleted: what they did is in the audit trail under their name. They are made inactive instead.
    """

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ["username", "email", "roles", "is_active", "is_superuser", "last_login"]
    list_filter = ["groups", "is_active", "is_superuser"]
    list_per_page = 50

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """Read the roles along."""
        rows: QuerySet[User] = super().get_queryset(request).prefetch_related("groups")
        return rows

    @admin.display(description="Roles")
    def roles(self, user: User) -> str:
        """Return the names of the user's groups."""
        return ", ".join(sorted(group.name for group in user.groups.all()))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: the audit trail would go with them."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Tell whether the user may change people, or this person: a superuser is changed by superusers alone."""
        is_above = isinstance(obj, User) and obj.is_superuser and not request.user.is_superuser
        return not is_above and super().has_change_permission(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Return what may only be looked at: for those who are no superusers, what would make one."""
        fields = [*super().get_readonly_fields(request, obj), "last_login", "date_joined"]
        return fields if request.user.is_superuser else [*fields, *_FOR_SUPERUSERS]

    def save_model(self, request: HttpRequest, obj: User, form: forms.ModelForm[User], change: bool) -> None:
        """Let a new person into the admin: that is what they are made for. What they may do there, roles say."""
        if not change:
            obj.is_staff = True
        super().save_model(request, obj, form, change)


@admin.register(Group)
class GroupAdmin(ReadOnlyAdmin):
    """Roles. What they may do stands in the code (`autopack_site.roles`)."""

    list_display = ["name"]
    fields = ["name", "allowed"]
    readonly_fields = ["allowed"]

    @admin.display(description="May")
    def allowed(self, group: Group) -> str:
        """Return the names of the permissions."""
        names = group.permissions.order_by("content_type__app_label", "codename")
        return ", ".join(
            f"{app}.{name}" for app, name in names.values_list("content_type__app_label", "codename")
        )


@admin.register(LogEntry)
class LogEntryAdmin(ReadOnlyAdmin):
    """The audit trail: who did what in the admin, when and why."""

    about = foreign("object_repr", "about", limit=LIST_CHARS)
    list_display = ["action_time", "user", "content_type", "about", "what"]
    list_select_related = ["user", "content_type"]
    list_filter = ["action_flag", "user"]
    search_fields = ["=object_id"]
    search_help_text = "The id of what it is about"
    ordering = ["-id"]
    sortable_by = ()
    fields = readonly_fields = ["action_time", "user", "content_type", "object_id", "about", "what"]

    @admin.display(description="What and why")
    def what(self, entry: LogEntry) -> str:
        """Return what was done."""
        return entry.get_change_message() or entry.get_action_flag_display()


def _run_now(request: HttpRequest, task: PeriodicTask, fields: dict[str, Any]) -> str:
    schedule.run_now(task)
    return "Sent to be run now"


def _pause(request: HttpRequest, task: PeriodicTask, fields: dict[str, Any]) -> str:
    schedule.set_enabled(task, is_enabled=False)
    return "Paused"


def _resume(request: HttpRequest, task: PeriodicTask, fields: dict[str, Any]) -> str:
    schedule.set_enabled(task, is_enabled=True)
    return "Resumed"


_CHANGE_SCHEDULE = "django_celery_beat.change_periodictask"
RUN_NOW = Decision(
    title="Run a scheduled task now",
    button="Run now",
    note="Its message is sent once more, beside the schedule.",
    permission=_CHANGE_SCHEDULE,
    act=_run_now,
)
PAUSE = Decision(
    title="Pause a scheduled task",
    button="Pause",
    note="While the sweeps are paused nothing finds lost messages, expired leases, passed deadlines or aged issues.",
    permission=_CHANGE_SCHEDULE,
    act=_pause,
    is_danger=True,
)
RESUME = Decision(
    title="Resume a scheduled task",
    button="Resume",
    note="Beat sends it again at its interval.",
    permission=_CHANGE_SCHEDULE,
    act=_resume,
)


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(DecidingAdmin):
    """What beat does. The intervals are settings; a task may be run now, paused and resumed."""

    list_display = ["name", "task", "enabled", "interval", "queue", "last_run_at", "total_run_count"]
    list_select_related = ["interval"]
    fields = [
        "name",
        "task",
        "enabled",
        "interval",
        "queue",
        "expire_seconds",
        "last_run_at",
        "total_run_count",
    ]
    actions_detail = ["run_now", "pause", "resume"]

    def has_schedule_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """Tell whether the user may act on the schedule."""
        return request.user.has_perm(_CHANGE_SCHEDULE)

    @action(description="Run now", url_path="run", permissions=["schedule"], icon="play_arrow")
    def run_now(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Send the task's message."""
        return self.decide_one(request, object_id, RUN_NOW)

    @action(description="Pause", url_path="pause", permissions=["schedule"], icon="pause")
    def pause(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Pause the task."""
        return self.decide_one(request, object_id, PAUSE)

    @action(description="Resume", url_path="resume", permissions=["schedule"], icon="resume")
    def resume(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Resume the task."""
        return self.decide_one(request, object_id, RESUME)
