"""Projects, rulesets and strategies in the database."""

from __future__ import annotations

import io
import json

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, IntegrityError, transaction

from autopack_site.kernel.errors import Invalid
from strategy import services
from strategy.engine import compile_strategy
from strategy.errors import NoProject, NoRuleset, ProjectExists, ProjectNotFound, StrategyFrozen
from strategy.models import Project, Ruleset, Strategy
from strategy.types import RunOptions
from tests.strategy.builders import phase, plan_of

pytestmark = pytest.mark.django_db


def add(project_id: str = "shop", **fields):
    values = {"name": "Shop", "source": "/srv/shop", "config_text": None, "is_default": False, "by": "ann"}
    return services.add_project(project_id, **{**values, **fields})


def in_force(project: Project) -> Ruleset:
    assert project.ruleset is not None
    return project.ruleset


def compile_one(project: Project, run_id: str = "r1", **options):
    return services.compile_for(
        project, [], plan_of(phase("a")), run_id=run_id, options=RunOptions(**options)
    )


def test_a_new_project_has_version_1_of_its_ruleset_in_force() -> None:
    project = Project.objects.get(pk=add().pk)
    assert (in_force(project).version, in_force(project).created_by) == (1, "ann")
    assert in_force(project).document["project_id"] == "shop"
    assert project.default_branch == "main"


def test_an_id_is_taken_once_and_nothing_is_left_of_the_second() -> None:
    add(is_default=True)
    with pytest.raises(ProjectExists) as caught:
        add(source="/elsewhere")
    assert caught.value.status == 409
    assert Project.objects.get().source == "/srv/shop"
    assert Ruleset.objects.count() == 1


@pytest.mark.parametrize("project_id", ["", "a/b", "../x", "x.lock", "a b", "-x", "x" * 129])
def test_a_bad_id_is_refused(project_id: str) -> None:
    with pytest.raises(Invalid):
        add(project_id)


@pytest.mark.parametrize(
    "source",
    ["", "relative/path", "ext::sh -c id", "https://user:pw@host/x", "--upload-pack=x", "ftp://host/x",
     "a\nb", "https://-x/y", "user@-host:x y", "/" + "x" * 2000],
)  # fmt: skip
def test_a_hostile_source_is_refused(source: str) -> None:
    with pytest.raises(Invalid):
        add(source=source)


@pytest.mark.parametrize(
    "source", ["/srv/x", "https://host/x.git", "ssh://git@host:22/x", "git@host:team/x.git", "file:///srv/x"]
)
def test_usual_sources_are_accepted(source: str) -> None:
    assert add(source=source).source == source


def test_there_is_one_default_project_and_the_last_mark_wins() -> None:
    add("one", is_default=True)
    add("two", is_default=True)
    assert services.project_for(None).project_id == "two"
    services.make_default("one")
    assert services.project_for(None).project_id == "one"
    assert Project.objects.default().count() == 1


def test_the_database_refuses_a_second_default() -> None:
    add("one", is_default=True)
    add("two")
    with pytest.raises(IntegrityError), transaction.atomic():
        Project.objects.filter(project_id="two").update(is_default=True)


def test_no_default_is_422_and_an_unknown_project_404() -> None:
    with pytest.raises(NoProject) as caught:
        services.project_for(None)
    assert (caught.value.status, caught.value.code) == (422, "no-project")
    with pytest.raises(ProjectNotFound) as missing:
        services.project_for("ghost")
    assert missing.value.status == 404


def test_the_configuration_reaches_the_strategy_through_the_ruleset() -> None:
    project = add(config_text="allow: {binary: true}\nprotected_paths: [ci/**]\nscopes: {d: [docs/**]}\n")
    compiled = services.compile_for(
        project, [], plan_of(phase("a", scope=("@d",))), run_id="r", options=RunOptions()
    )
    row = compiled.document["phase_strategies"]["a"]
    assert (row["allowed"]["binary"], row["scope"]) == (True, ["docs/**"])
    assert compiled.document["protected_paths"] == ["ci/**"]


def test_a_changed_policy_is_a_new_ruleset_and_another_change_is_not() -> None:
    add()
    project = services.update_project_config("shop", config_text="default_branch: trunk\n", by="bob")
    assert (project.default_branch, in_force(project).version) == ("trunk", 1)
    before = project.config_hash
    project = services.update_project_config("shop", config_text="allow: {symlinks: true}\n", by="bob")
    assert project.config_hash != before
    assert (in_force(project).version, in_force(project).created_by) == (2, "bob")
    assert in_force(project).document["allow"]["symlinks"] is True
    assert project.settings.allow.symlinks is True


def test_a_bad_configuration_changes_nothing() -> None:
    before = add().config_hash
    with pytest.raises(Invalid):
        services.update_project_config("shop", config_text="nonsense: 1\n", by="bob")
    assert Project.objects.get().config_hash == before
    with pytest.raises(ProjectNotFound):
        services.update_project_config("ghost", config_text="", by="bob")


def test_rulesets_are_numbered_and_the_last_is_in_force() -> None:
    project = add()
    services.add_ruleset(project, {"run_token_cap": 7, "version": 99}, "bob")
    project = services.project_for("shop")
    assert (in_force(project).version, in_force(project).document["version"]) == (2, 2)
    assert compile_one(project).document["run_token_cap"] == 7


def test_a_ruleset_of_another_project_is_refused() -> None:
    with pytest.raises(Invalid):
        services.add_ruleset(add(), {"project_id": "other"}, "bob")


@pytest.mark.parametrize("model", [Ruleset, Strategy])
def test_the_database_refuses_to_change_or_delete_history(model) -> None:
    project = add()
    services.freeze("r1", project, compile_one(project))
    for change in (
        lambda: model.objects.update(sha256="0" * 64),
        lambda: model.objects.all()._raw_delete("default"),
    ):
        with pytest.raises(DatabaseError, match="immutable"), transaction.atomic():
            change()


def test_a_strategy_is_frozen_with_its_bytes_hash_and_ruleset() -> None:
    project = add()
    compiled = compile_one(project)
    services.freeze("r1", project, compiled)
    stored = Strategy.objects.get(run_id="r1")
    assert stored.canonical.encode() == compiled.canonical
    assert stored.sha256 == compiled.sha256
    assert stored.document == compiled.document
    assert stored.ruleset == project.ruleset


def test_a_strategy_compiled_from_the_stored_row_has_the_same_hash() -> None:
    project = add()
    stored = services.project_for("shop")
    assert compile_one(stored).sha256 == compile_one(project).sha256
    assert services.freeze("r1", stored, compile_one(stored)).ruleset == in_force(project)


def test_freezing_again_is_the_same_row_and_other_content_a_conflict() -> None:
    project = add()
    first = services.freeze("r1", project, compile_one(project))
    assert services.freeze("r1", project, compile_one(project)).pk == first.pk
    with pytest.raises(StrategyFrozen):
        services.freeze("r1", project, compile_one(project, token_cap=5))


def test_a_strategy_keeps_the_ruleset_it_was_compiled_from() -> None:
    project = add()
    compiled, first = compile_one(project), project.ruleset
    services.add_ruleset(project, {}, "bob")
    assert services.freeze("r1", project, compiled).ruleset == first


def test_a_strategy_of_another_run_or_of_unknown_rules_is_refused() -> None:
    project = add()
    with pytest.raises(Invalid):
        services.freeze("r2", project, compile_one(project, "r1"))
    foreign = compile_strategy(
        {}, [], plan_of(phase("a")), run_id="r1", project_id="shop", options=RunOptions()
    )
    with pytest.raises(Invalid):
        services.freeze("r1", project, foreign)


def test_a_project_without_rules_compiles_nothing() -> None:
    project = add()
    project.ruleset = None
    with pytest.raises(NoRuleset):
        compile_one(project)


# --- manage.py project -----------------------------------------------------------------------------------


def project_command(*arguments: str):
    out = io.StringIO()
    call_command("project", *arguments, stdout=out)
    return out.getvalue()


def test_project_add_takes_a_folder_and_names_it(tmp_path) -> None:
    repository = tmp_path / "my shop.git"
    repository.mkdir()
    answer = json.loads(project_command("add", str(repository), "--default", "--json"))
    assert (answer["project_id"], answer["source"]) == ("my-shop", str(repository.resolve()))
    assert (answer["is_default"], answer["ruleset_version"]) == (True, 1)
    assert "* my-shop" in project_command("list")


def test_project_config_replaces_the_configuration(tmp_path) -> None:
    add()
    path = tmp_path / "autopack.yaml"
    path.write_text("default_branch: trunk\n", encoding="utf-8")
    project_command("config", "shop", "--config", str(path))
    assert json.loads(project_command("list", "--json"))[0]["default_branch"] == "trunk"


def test_a_fault_in_the_file_is_told_with_path_and_line(tmp_path) -> None:
    path = tmp_path / "autopack.yaml"
    path.write_text("builders:\n  x: {kind: nope}\n", encoding="utf-8")
    with pytest.raises(CommandError, match=r"autopack\.yaml: line 2: 'nope' is not one of"):
        project_command("add", str(tmp_path), "--id", "x", "--config", str(path))
    assert not Project.objects.exists()


@pytest.mark.parametrize(
    "arguments",
    [("add", "/nowhere/at/all"), ("add", "https://h/x", "--config", "/nowhere"), ("add", "https://h/..."),
     ("config", "ghost", "--config", "/dev/null")],
)  # fmt: skip
def test_refusals_are_command_errors(arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        project_command(*arguments)
