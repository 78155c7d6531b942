"""What an entry is known by, in the admin: its names, votes and group, and what people decide about them."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import action
from unfold.widgets import UnfoldAdminTextInputWidget

from autopack_site.kernel.errors import Invalid, problem
from issues.groups import group_of, names_of_entry, voters
from issues.merging import merge_entries, split_name
from issues.models import BacklogEntry
from issues.search import called
from strategy.admin import DecidingAdmin, Decision, WhyForm
from strategy.admin.base import as_text

PERMISSION = "issues.change_backlogentry"
_LINE_END = SafeString("<br>")


class MergeForm(WhyForm):
    """Which other issue, and why."""

    other = forms.CharField(
        label="Issue key of the other",
        max_length=256,
        widget=UnfoldAdminTextInputWidget(),
        help_text="It becomes one with this issue, which keeps its key. Reports of its names come here from now on.",
    )
    field_order = ["other", "why"]


class SplitForm(WhyForm):
    """Which name, the key of its issue, and why."""

    name_id = forms.IntegerField(
        label="Number of the name", min_value=1, widget=UnfoldAdminTextInputWidget(),
        help_text="As the issue's page lists it.",
    )  # fmt: skip
    issue_key = forms.CharField(
        label="Key of the new issue", max_length=256, required=False, widget=UnfoldAdminTextInputWidget(),
        help_text="Only for a place: a key is its own.",
    )  # fmt: skip
    field_order = ["name_id", "issue_key", "why"]


def _merge(request: HttpRequest, entry: BacklogEntry, fields: dict[str, Any]) -> str:
    key = fields["other"].replace("\x00", "")
    rows = BacklogEntry.objects.filter(project=entry.project_id, issue_key__in=called(entry.project_id, key))
    other = rows.values_list("pk", flat=True).first()
    if other is None:
        raise Invalid([problem("value_error", ["other"], "No issue of this project goes by this key")])
    merge_entries(entry.pk, [other], by=request.user.get_username(), why=fields["why"])
    return f"Merged {as_text(key)} into it"


def _split(request: HttpRequest, entry: BacklogEntry, fields: dict[str, Any]) -> str:
    new = split_name(
        entry.pk,
        fields["name_id"],
        by=request.user.get_username(),
        why=fields["why"],
        as_key=fields["issue_key"],
    )
    return f"Split {as_text(new.issue_key)} off"


MERGE = Decision(
    title="Merge another issue into this one",
    button="Merge",
    note="Its counts, votes and sightings are added; its history is kept behind this issue. Live runs that have seen "
    "both count them as one from then on.",
    permission=PERMISSION,
    act=_merge,
    form=MergeForm,
)
SPLIT = Decision(
    title="Split a name off",
    button="Split off",
    note="The name becomes an issue of its own, and its later reports go there whatever else they say. What was "
    "counted stays counted here.",
    permission=PERMISSION,
    act=_split,
    form=SplitForm,
)


class IdentityAdmin(DecidingAdmin):
    """The part of an entry's page that is about identity. Everything agents wrote is shown as text."""

    @admin.display(description="Names")
    def names(self, entry: BacklogEntry) -> SafeString:
        """List what leads to the entry: numbers to split by, keys, places."""
        rows = names_of_entry(entry)
        return format_html_join(
            _LINE_END,
            "{} · {} · {}{}",
            (
                (row.pk, row.kind, as_text(row.site or row.name), " · split off" if row.is_pinned else "")
                for row in rows
            ),
        )

    @admin.display(description="Reported by")
    def votes(self, entry: BacklogEntry) -> str:
        """Name those who reported it, each once."""
        return ", ".join(as_text(name) for name in voters(entry)) or "-"

    @admin.display(description="Same cause elsewhere")
    def group(self, entry: BacklogEntry) -> SafeString | str:
        """Link the entries that have its cause at other places."""
        members = group_of(entry, names_of_entry(entry))
        if not members:
            return "-"
        everything = f"{reverse('admin:issues_backlogentry_changelist')}?group={entry.pk}"
        rows = format_html_join(
            _LINE_END,
            '<a href="{}">{}</a> · {} · {}',
            (
                (
                    reverse("admin:issues_backlogentry_change", args=[member["id"]]),
                    as_text(member["issue_key"]),
                    member["status"],
                    as_text(member["site"]),
                )
                for member in members
            ),
        )
        return format_html('{}<br><a href="{}">As a list</a>', rows, everything)

    @action(description="Merge another into it", url_path="merge", permissions=["decide"], icon="merge")
    def merge(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Make another entry one with this one."""
        return self.decide_one(request, object_id, MERGE)

    @action(description="Split a name off", url_path="split", permissions=["decide"], icon="call_split")
    def split(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Make a name an issue of its own."""
        return self.decide_one(request, object_id, SPLIT)
