"""The page on which a document is changed as text: faults by line and field, differences first, then in force."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from autopack_site.kernel.errors import AutopackError, Invalid
from autopack_site.kernel.visible import visible
from strategy.admin.texts import PREVIEW, Problem, ShownDifference, TextForm, problems_of, shown
from strategy.differences import Difference


@dataclass(frozen=True)
class TextChange:
    """A change of a document.

    `preview(fields)` returns what would change. `save(request, fields)` does it by a service, writes the audit
    trail and returns what to tell; both may raise AutopackError. `permission` is the full name of what the person
    must hold. `advise(fields)` returns what to look at in a text that may be saved all the same.
    """

    title: str
    note: str
    label: str
    permission: str
    back: str
    initial: dict[str, Any]
    preview: Callable[[dict[str, Any]], Sequence[Difference]]
    save: Callable[[HttpRequest, dict[str, Any]], str]
    form: type[TextForm] = TextForm
    advise: Callable[[dict[str, Any]], Sequence[Problem]] | None = None


def change_text(model_admin: ModelAdmin[Any], request: HttpRequest, change: TextChange) -> HttpResponse:
    """Show the form, what is wrong with its text, or what it would change; save it when asked to."""
    if not request.user.has_perm(change.permission):
        raise PermissionDenied
    is_posted = request.method == "POST"
    form = change.form(request.POST if is_posted else None, initial=change.initial)
    differences: Sequence[ShownDifference] | None = None
    problems: list[Problem] = []
    advice: Sequence[Problem] = ()
    if is_posted and PREVIEW in request.POST:
        form.fields["why"].required = False  # not needed to look at the differences
    if is_posted and form.is_valid():
        try:
            if PREVIEW in request.POST:
                differences = shown(change.preview(form.cleaned_data))
                advice = change.advise(form.cleaned_data) if change.advise else ()
            else:
                with transaction.atomic():
                    told = change.save(request, form.cleaned_data)
                model_admin.message_user(request, told)
                return HttpResponseRedirect(change.back)
        except Invalid as error:
            problems = _placed(form, error)
        except AutopackError as error:
            form.add_error(None, f"{visible(error.detail)} ({error.code})")
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.model._meta,
        "title": change.title,
        "note": change.note,
        "label": change.label,
        "form": form,
        "problems": problems,
        "advice": advice,
        "differences": differences,
        "preview_name": PREVIEW,
        "back": change.back,
        "media": model_admin.media + form.media,
    }
    return TemplateResponse(request, "strategy/admin/text_form.html", context)


def _placed(form: TextForm, error: Invalid) -> list[Problem]:
    """Show what is about a field of the form at that field; return the rest, which is about the text."""
    of_text = []
    for row in error.problems:
        name = str(row["loc"][0]) if row["loc"] else ""
        if name in form.fields and not str(row["msg"]).startswith("line "):
            form.add_error(name, visible(str(row["msg"])))
        else:
            of_text.append(row)
    if not of_text:
        return []
    count = len(of_text)
    form.add_error("text", f"{count} {'fault' if count == 1 else 'faults'}, listed above")
    return problems_of(Invalid(of_text))
