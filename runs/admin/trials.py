"""A ruleset tried from its page: pasted, held against a plan and against the past, before it is put in force."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.decorators import action
from unfold.widgets import UnfoldAdminIntegerFieldWidget

from autopack_site.kernel.errors import AutopackError, Invalid
from autopack_site.kernel.visible import visible
from runs import trials
from runs.plan_texts import is_json, read_plan_text
from runs.replay import DEFAULT_RUNS, MAX_RUNS, lines, replay
from strategy.admin.base import as_text
from strategy.admin.rulesets import RulesetAdmin
from strategy.admin.texts import SourceField, pretty, problems_of
from strategy.models import Ruleset

SHOWN_CHANGES = 500
_NOTE = (
    "Nothing is stored and nothing is put in force. The ruleset is compared with the one in force: on the plan that "
    "you paste, and on what is recorded of the project's last ended runs."
)


class TrialForm(forms.Form):
    """A ruleset, a plan, and how much of the past."""

    text = SourceField(label="Ruleset (JSON or YAML)")
    plan = SourceField(
        label="Plan (Markdown or JSON)", required=False, help_text="Without one the past alone is looked at."
    )
    runs = forms.IntegerField(
        label="Past runs", min_value=0, max_value=MAX_RUNS, widget=UnfoldAdminIntegerFieldWidget(),
        help_text="How many of the last ended runs; 0 looks at none.",
    )  # fmt: skip


admin.site.unregister(Ruleset)


@admin.register(Ruleset)
class TriedRulesetAdmin(RulesetAdmin):
    """Rulesets, which can be tried on plans and on the past: what runs are is known here, not below."""

    actions_detail = [*RulesetAdmin.actions_detail, "try_out"]

    @action(description="Try out", url_path="try", permissions=["view"], icon="science")
    def try_out(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show what a text would change, beginning with this version's."""
        if not request.user.has_perm("strategy.view_ruleset"):
            raise PermissionDenied
        ruleset = self._found(request, object_id)
        project = ruleset.project
        is_posted = request.method == "POST"
        initial = {"text": pretty({k: v for k, v in ruleset.document.items() if k != "version"})}
        form = TrialForm(request.POST if is_posted else None, initial={**initial, "runs": DEFAULT_RUNS})
        found: dict[str, Any] = {}
        if is_posted and form.is_valid():
            found = _tried(form, project, form.cleaned_data)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.model._meta,
            "title": f"Try a ruleset of {project.project_id}",
            "note": _NOTE,
            "form": form,
            "label": "Try it",
            "back": reverse("admin:strategy_ruleset_change", args=[ruleset.pk]),
            "media": self.media + form.media,
            **found,
        }
        return TemplateResponse(request, "runs/admin/trial.html", context)


def _tried(form: TrialForm, project: Any, fields: dict[str, Any]) -> dict[str, Any]:
    """Return what the page shows; what is refused is told at its field."""
    found: dict[str, Any] = {}
    try:
        trials.candidate(project, fields["text"])
    except Invalid as error:
        form.add_error("text", f"{len(error.problems)} faults, listed above")
        return {"problems": problems_of(error)}
    if fields["plan"].strip():
        try:
            plan = read_plan_text(fields["plan"])
            answer = trials.dry_run(project, fields["text"], plan, splits=not is_json(fields["plan"]))
        except Invalid as error:
            for row in error.problems:
                form.add_error("plan", visible(str(row["msg"])))
            return {}
        except AutopackError as error:
            form.add_error("plan", f"{visible(error.detail)} ({error.code})")
            return {}
        found = {
            "answer": answer,
            "changes": [_change(row) for row in answer["differences"][:SHOWN_CHANGES]],
            "more": max(len(answer["differences"]) - SHOWN_CHANGES, 0),
        }
    if fields["runs"]:
        past = replay(project, fields["text"], runs=fields["runs"])
        found["past"] = [visible(line) for line in lines(past)]
    return found


def _change(row: dict[str, Any]) -> dict[str, str]:
    subject = row["run_id"] if row["level"] == "run" else f"{row['level']} {row['subject']}"
    return {
        "subject": visible(subject),
        "name": row["name"],
        "before": as_text(row["before"]) if row["before_rule"] else "",
        "after": as_text(row["after"]) if row["after_rule"] else "",
        "rule": visible(row["after_rule"] or row["before_rule"]),
    }
