"""What people do to rows in the admin: confirmed with a reason, done by a service, written into the audit trail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.widgets import UnfoldAdminTextareaWidget

from autopack_site.kernel.errors import AutopackError, Invalid
from autopack_site.kernel.visible import visible
from strategy.admin.base import ReadOnlyAdmin, clipped

CONFIRMED = "confirmed"
MAX_ROWS = 200
MAX_WHY_CHARS = 2000


class WhyForm(forms.Form):
    """The reason, without which nobody decides anything."""

    why = forms.CharField(
        label="Reason",
        max_length=MAX_WHY_CHARS,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="Kept with the decision, and in the audit trail.",
    )


@dataclass(frozen=True)
class Decision:
    """What a person decides about rows.

    `act(request, row, fields)` calls the service and returns what happened, for the audit trail; it may raise
    AutopackError. `permission` is the full name of what the person must hold.
    """

    title: str
    button: str
    note: str
    permission: str
    act: Callable[[HttpRequest, Any, dict[str, Any]], str]
    form: type[forms.Form] = WhyForm
    is_danger: bool = False


class DecidingAdmin(ReadOnlyAdmin):
    """A table whose rows are decided about, one on its page or several from the list."""

    def decide_one(self, request: HttpRequest, object_id: str, decision: Decision) -> HttpResponse:
        """Decide about one row, and lead back to its page."""
        row = self.get_object(request, object_id)
        if row is None:
            raise Http404
        options = self.model._meta
        back = reverse(f"admin:{options.app_label}_{options.model_name}_change", args=[row.pk])
        return decide(self, request, [row], decision, back=back)

    def decide_many(
        self, request: HttpRequest, queryset: QuerySet[Any], decision: Decision
    ) -> HttpResponse | None:
        """Decide about the selected rows, and lead back to the list."""
        rows = list(queryset[: MAX_ROWS + 1])
        if len(rows) > MAX_ROWS:
            self.message_user(request, f"Select at most {MAX_ROWS} rows", messages.ERROR)
            return None
        carried = [("action", request.POST.get("action", ""))]
        carried += [(ACTION_CHECKBOX_NAME, str(row.pk)) for row in rows]
        return decide(self, request, rows, decision, back=request.get_full_path(), carried=carried)


def decide(
    model_admin: ModelAdmin[Any],
    request: HttpRequest,
    rows: Sequence[Model],
    decision: Decision,
    *,
    back: str,
    carried: Sequence[tuple[str, str]] = (),
) -> HttpResponse:
    """Ask for the reason; when it is there, do it for each row and lead back, telling what was refused and why.

    Each row is one transaction with its line in the audit trail. Raises PermissionDenied.
    """
    if not request.user.has_perm(decision.permission):
        raise PermissionDenied
    is_confirmed = request.method == "POST" and CONFIRMED in request.POST
    form = decision.form(request.POST if is_confirmed else None)
    if is_confirmed and form.is_valid():
        done = 0
        for row in rows:
            try:
                done += _carry_out(request, row, decision, form.cleaned_data)
            except Invalid as error:
                add_problems(form, error)
                break
            except AutopackError as error:
                text = f"{subject(row)}: {error.detail} ({error.code})"
                model_admin.message_user(request, text, messages.ERROR)
        if done:
            told = subject(rows[0]) if len(rows) == 1 else f"{done} of {len(rows)}"
            model_admin.message_user(request, f"{decision.button}: {told}", messages.SUCCESS)
        if not form.errors:
            return HttpResponseRedirect(back)
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.model._meta,
        "title": decision.title,
        "decision": decision,
        "subjects": [subject(row) for row in rows],
        "form": form,
        "carried": carried,
        "confirmed_name": CONFIRMED,
        "back": back,
        "media": model_admin.media + form.media,
    }
    return TemplateResponse(request, "strategy/admin/decision.html", context)


def _carry_out(request: HttpRequest, row: Model, decision: Decision, fields: dict[str, Any]) -> bool:
    with transaction.atomic():
        happened = decision.act(request, row, fields)
        audit(request, row, audit_line(happened, fields))
    return True


def audit(request: HttpRequest, row: Model, line: str) -> None:
    """Write into the audit trail what the user did to a row."""
    user = request.user
    if user.pk is None:
        raise PermissionDenied
    LogEntry.objects.log_actions(user.pk, [row], CHANGE, change_message=line, single_object=True)


def audit_line(happened: str, fields: dict[str, Any]) -> str:
    """Return what the audit trail says: what happened, and why."""
    why = str(fields.get("why", "")).strip()
    return f"{happened}. Why: {why}" if why else happened


def add_problems(form: forms.Form, error: Invalid) -> None:
    """Show each problem at the field that it is about, else above the form."""
    for row in error.problems:
        name = str(row["loc"][0]) if row["loc"] else ""
        form.add_error(name if name in form.fields else None, visible(str(row["msg"])))


def subject(row: Model) -> str:
    """Return how a row is called, fit to be shown."""
    return clipped(visible(str(row)), 200)
