"""Backlogs in the admin: by facets, each entry with its history, accepted or resolved by people with a reason."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.admin import TabularInline
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextInputWidget

from issues import aging_chart
from issues.admin.identity import PERMISSION, IdentityAdmin
from issues.aging import Status, project_thresholds
from issues.decisions import accept_entry, resolve_entry
from issues.facets import categories
from issues.models import BacklogEntry, BacklogEvent
from issues.search import in_group, with_words
from strategy.admin import Decision, WhyForm, foreign
from strategy.admin.base import LIST_CHARS, ProjectFilter, as_text, clipped
from strategy.models import Project

MAX_CATEGORIES = 50
OLDEST_ENTRIES = 10


class AcceptForm(WhyForm):
    """Until when, and why."""

    until = forms.DateField(
        label="Accepted until",
        widget=UnfoldAdminTextInputWidget(attrs={"type": "date"}),
        help_text="The last day (UTC). After it the issue is open again.",
    )
    field_order = ["until", "why"]


class ResolveForm(WhyForm):
    """Why, and by which commit."""

    commit = forms.CharField(
        label="Fixed by commit",
        max_length=64,
        required=False,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Its full name. Then only branches that have it can reopen the issue.",
    )
    field_order = ["commit", "why"]


def _accept(request: HttpRequest, entry: BacklogEntry, fields: dict[str, Any]) -> str:
    day: date = fields["until"]
    until = datetime.combine(day, time.max, tzinfo=UTC)
    accept_entry(entry.pk, until=until, by=request.user.get_username(), why=fields["why"])
    return f"Accepted until {day.isoformat()}"


def _resolve(request: HttpRequest, entry: BacklogEntry, fields: dict[str, Any]) -> str:
    commit = fields["commit"].strip()
    resolve_entry(entry.pk, by=request.user.get_username(), why=fields["why"], commit=commit)
    return f"Resolved by hand, fixed by {commit}" if commit else "Resolved by hand"


ACCEPT = Decision(
    title="Accept issues",
    button="Accept",
    note="Until the date they do not age, are not cleaned up and do not count as major for their age. They are still "
    "recorded and counted where they are seen.",
    permission=PERMISSION,
    act=_accept,
    form=AcceptForm,
)
RESOLVE = Decision(
    title="Resolve issues by hand",
    button="Resolve",
    note="They leave the backlog. One that is reported again is reopened with its history.",
    permission=PERMISSION,
    act=_resolve,
    form=ResolveForm,
)


class CategoryFilter(admin.SimpleListFilter):
    """Entries of one category."""

    title = "category"
    parameter_name = "category"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the categories that there are, or the first of very many."""
        return [(name, clipped(as_text(name), LIST_CHARS)) for name in categories(MAX_CATEGORIES)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the chosen category's entries."""
        wanted = self.value()
        return queryset if wanted is None else queryset.filter(category=wanted.replace("\x00", ""))


class GroupFilter(admin.SimpleListFilter):
    """The group of one entry: reached from its page, and shown while it is chosen."""

    title = "same cause"
    parameter_name = "group"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the entry whose group is asked for, if one is."""
        pk = group_asked(self.value())
        keys = BacklogEntry.without_ages.filter(pk=pk).values_list("issue_key", flat=True)
        return [(str(pk), clipped(as_text(key), LIST_CHARS)) for key in keys[:1]] if pk else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the entry and those with its cause at other places."""
        pk = group_asked(self.value())
        found: QuerySet[Any] = in_group(queryset, pk) if pk else queryset
        return found


def group_asked(value: str | None) -> int | None:
    """Return the number of an entry that an address names, None for anything else."""
    return int(value) if value and value.isascii() and value.isdigit() and len(value) < 19 else None


class BacklogEventInline(TabularInline):
    """An entry's history, oldest first."""

    reason = foreign("why")
    by = foreign("who")
    model = BacklogEvent
    fields = readonly_fields = [
        "at", "event", "from_status", "to_status", "by", "reason", "until", "run_id", "phase_id",
    ]  # fmt: skip
    extra = 0
    per_page = 50
    can_delete = False
    verbose_name_plural = "History"

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: events are written with what they tell of."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: the database refuses it."""
        return False


@admin.register(BacklogEntry)
class BacklogEntryAdmin(IdentityAdmin):
    """The backlog, newest entries first. The page of ages shows the oldest."""

    key = foreign("issue_key", "issue key", limit=LIST_CHARS)
    whole_key = foreign("issue_key", "issue key")
    of_category = foreign("category", limit=LIST_CHARS)
    files = foreign("paths", "files named by evidence")
    seen_scopes = foreign("scopes", "scopes that saw it")
    list_display = [
        "key", "project", "shown_status", "shown_severity", "of_category", "age_in_runs", "age_in_tiers",
        "occurrence_count", "last_seen_run_id", "last_seen_at", "accepted_until",
    ]  # fmt: skip
    list_select_related = ["project"]
    list_filter = ["status", "effective_severity", CategoryFilter, ProjectFilter, GroupFilter]
    search_fields = ["issue_key"]  # that there is a search; `get_search_results` does it
    search_help_text = "Words of key, category and files, or beginnings of words"
    ordering = ["-id"]
    sortable_by = ()
    fields = readonly_fields = [
        "whole_key", "project", "status", "accepted_until", "of_category", "base_severity", "shown_severity",
        "age_in_runs", "age_in_tiers", "occurrence_count", "first_seen_run_id", "first_seen_at",
        "last_seen_run_id", "last_seen_at", "opened_at", "seen_in_runs", "seen_in_tiers", "files", "seen_scopes",
        "names", "votes", "group", "fixed_by",
    ]  # fmt: skip
    inlines = [BacklogEventInline]
    actions = ["accept_entries", "resolve_entries"]
    actions_list = ["ages"]
    actions_detail = ["accept", "resolve", "merge", "split"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[BacklogEntry]:
        """Leave out of lists what they don't show."""
        rows: QuerySet[BacklogEntry] = super().get_queryset(request)
        unshown = ("seen_in_runs", "seen_in_tiers", "paths", "scopes", "project__config")
        return rows.select_related("project").defer(*unshown)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Return the entries that hold every word of the term."""
        return with_words(queryset, search_term), False

    def has_decide_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """Tell whether the user may accept and resolve."""
        return request.user.has_perm(PERMISSION)

    @display(
        description="status",
        label={"open": "info", "reopened": "warning", "needs_cleanup": "danger", "resolved": "success"},
    )
    def shown_status(self, entry: BacklogEntry) -> tuple[str, str]:
        """Return the status in words."""
        return str(entry.status), str(entry.status).replace("_", " ")

    @display(description="counts as", label={"major": "danger"})
    def shown_severity(self, entry: BacklogEntry) -> str:
        """Return the effective severity."""
        return entry.effective_severity

    @admin.action(description="Accept until a date", permissions=["decide"])
    def accept_entries(self, request: HttpRequest, queryset: QuerySet[BacklogEntry]) -> HttpResponse | None:
        """Accept each of the selected entries."""
        return self.decide_many(request, queryset, ACCEPT)

    @admin.action(description="Resolve by hand", permissions=["decide"])
    def resolve_entries(self, request: HttpRequest, queryset: QuerySet[BacklogEntry]) -> HttpResponse | None:
        """Resolve each of the selected entries."""
        return self.decide_many(request, queryset, RESOLVE)

    @action(
        description="Accept until a date", url_path="accept", permissions=["decide"], icon="event_available"
    )
    def accept(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Accept an entry."""
        return self.decide_one(request, object_id, ACCEPT)

    @action(description="Resolve by hand", url_path="resolve", permissions=["decide"], icon="task_alt")
    def resolve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Resolve an entry."""
        return self.decide_one(request, object_id, RESOLVE)

    @action(description="Ages", url_path="ages", permissions=["view"], icon="bar_chart")
    def ages(self, request: HttpRequest) -> HttpResponse:
        """Show how old the open entries are, of one project or of all."""
        projects = Project.objects.order_by("project_id").values_list("project_id", flat=True)
        wanted = request.GET.get("project", "").replace("\x00", "")
        project = Project.objects.select_related("ruleset").filter(project_id=wanted).first()
        entries = BacklogEntry.objects.filter(project=project) if project else BacklogEntry.objects.all()
        thresholds = project_thresholds(project.ruleset.document) if project and project.ruleset else None
        counted = aging_chart.count(entries)
        # of one project from an index; of all by one pass over what is live
        oldest = entries.oldest() if project else entries.live().order_by(aging_chart.JOINED_AGE.desc(), "id")
        oldest = oldest.select_related("project")
        url = reverse("admin:issues_backlogentry_changelist")
        context = {
            **self.admin_site.each_context(request),
            "opts": self.model._meta,
            "title": "Ages of open issues",
            "projects": list(projects),
            "project": project,
            "tiles": [
                (
                    status.value.replace("_", " "),
                    counted.by_status.get(status, 0),
                    f"{url}?status__exact={status}",
                )
                for status in Status
            ],
            "chart": aging_chart.draw(counted.live, threshold_runs=thresholds.runs if thresholds else None),
            "threshold": thresholds,
            "oldest": [
                (entry, clipped(as_text(entry.issue_key), LIST_CHARS))
                for entry in oldest.defer("project__config", "paths", "scopes")[:OLDEST_ENTRIES]
            ],
            "media": self.media,
        }
        return TemplateResponse(request, "issues/admin/ages.html", context)
