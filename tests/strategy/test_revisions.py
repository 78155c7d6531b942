"""Changes of configuration and rules: kept as they were written, and never over somebody else's."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from django.apps import apps
from django.db import DatabaseError, transaction

from autopack_site.kernel.errors import Invalid
from strategy import services
from strategy.config import load_config
from strategy.errors import ConfigMoved, NothingChanged, ProjectNotFound, RulesetMoved
from strategy.models import Project, ProjectRevision, Ruleset
from strategy.published import FIRST, PRESENT
from tests.factories import make_project

pytestmark = pytest.mark.django_db
TEXT = "# ours\ndefault_branch: trunk\n"


@pytest.fixture
def project() -> Project:
    return services.add_project(
        "shop", name="Shop", source="/srv/shop", config_text=TEXT, is_default=False, by="ann"
    )


def history(project: Project) -> list[tuple[int, str, str, str]]:
    rows = ProjectRevision.objects.filter(project=project).order_by("number")
    return list(rows.values_list("number", "config_text", "created_by", "why"))


def configure(text: str, **fields: Any) -> Project:
    return services.update_project_config("shop", config_text=text, by="bob", **fields)


def revise(text: str, expected: int = 1) -> int:
    return services.revise_ruleset("shop", text=text, by="bob", expected=expected).version


def test_a_new_project_has_its_text_as_revision_1(project: Project) -> None:
    assert history(project) == [(1, TEXT, "ann", "the project was added")]


def test_each_change_is_a_revision_with_who_and_why(project: Project) -> None:
    configure("default_branch: main\n", why="back to main", expected=1)
    assert history(project)[1:] == [(2, "default_branch: main\n", "bob", "back to main")]
    newest = ProjectRevision.objects.get(number=2)
    project.refresh_from_db()
    assert (newest.config, newest.config_hash) == (project.config, project.config_hash)


def test_the_same_text_is_no_revision(project: Project) -> None:
    configure(TEXT)
    assert len(history(project)) == 1


def test_a_change_made_from_an_older_revision_is_refused(project: Project) -> None:
    configure("default_branch: main\n", expected=1)
    with pytest.raises(ConfigMoved) as caught:
        configure("default_branch: other\n", expected=1)
    assert caught.value.status == 409
    assert len(history(project)) == 2


def test_the_database_refuses_to_change_or_delete_a_revision(project: Project) -> None:
    for change in (
        lambda: ProjectRevision.objects.update(why="else"),
        lambda: ProjectRevision.objects.all()._raw_delete("default"),
    ):
        with pytest.raises(DatabaseError, match="immutable"), transaction.atomic():
            change()


def test_an_upgrade_gives_projects_their_present_configuration_as_revision_1() -> None:
    old = make_project("old", config={"default_branch": "trunk"})
    importlib.import_module("strategy.migrations.0005_first_revisions").fill(apps, None)
    [row] = ProjectRevision.objects.filter(project=old)
    assert (row.number, row.config, row.created_by) == (1, {"default_branch": "trunk"}, "upgrade")
    assert load_config(row.config_text).default_branch == "trunk"


def test_a_text_becomes_the_next_ruleset(project: Project) -> None:
    assert revise("run_token_cap: 7\n") == 2
    project.refresh_from_db()
    assert project.ruleset is not None
    assert project.ruleset.document == {
        "run_token_cap": 7, "version": 2, "project_id": "shop", "defaults": "2026-11"
    }  # fmt: skip


def test_a_ruleset_made_from_an_older_version_is_refused(project: Project) -> None:
    revise("run_token_cap: 7\n")
    with pytest.raises(RulesetMoved):
        revise("run_token_cap: 8\n", expected=1)


def test_the_rules_in_force_are_no_new_version(project: Project) -> None:
    revise("run_token_cap: 7\n")
    with pytest.raises(NothingChanged):
        revise('{"run_token_cap": 7, "version": 1}', expected=2)


def test_a_fault_in_a_ruleset_is_told_with_its_line_and_field(project: Project) -> None:
    with pytest.raises(Invalid) as caught:
        revise("run_token_cap: 7\ncategory_defaults:\n  docs: {auto_apply: maybe}\n")
    [row] = caught.value.problems
    assert row["loc"] == ["category_defaults", "docs", "auto_apply"]
    assert row["msg"].startswith("line 3:")


def test_an_unknown_project_is_not_found() -> None:
    with pytest.raises(ProjectNotFound):
        revise("{}")


def test_a_ruleset_that_names_no_defaults_has_the_present_ones_written_in(project: Project) -> None:
    revise("run_token_cap: 7\n")
    project.refresh_from_db()
    assert project.ruleset is not None
    assert project.ruleset.document["defaults"] == PRESENT


def test_what_is_made_from_a_ruleset_of_old_goes_on_with_the_first_defaults(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = {"version": 2, "project_id": "shop"}
    row = Ruleset.objects.create(project=project, version=2, document=old, sha256="0" * 64, created_by="old")
    Project.objects.filter(pk=project.pk).update(ruleset=row)
    monkeypatch.setattr(services, "PRESENT", "2099-01")  # whatever the present ones are by then
    services.update_project_config("shop", config_text="allow: {binary: true}\n", by="ann")
    project.refresh_from_db()
    assert project.ruleset is not None
    assert (project.ruleset.version, project.ruleset.document["defaults"]) == (3, FIRST)


def test_the_order_of_rules_makes_no_new_version(project: Project) -> None:
    rules = ["- {id: a, set: {auto_apply: false}}\n", "- {id: b, set: {ci_profile: strict}}\n"]
    assert revise("rules:\n" + "".join(rules)) == 2
    with pytest.raises(NothingChanged):
        revise("rules:\n" + "".join(reversed(rules)), expected=2)
