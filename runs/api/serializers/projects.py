"""Projects, their rulesets, a run's promotion: all for reading, none with a secret."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from runs.api.fields import Count, Word
from runs.api.serializers.runs import MAX_PAGE
from strategy.config import AgentConfig, GateStep
from strategy.models import Project, Ruleset
from strategy.sources import shown_source


class PageIn(serializers.Serializer[Any]):
    """Which page of a list."""

    limit = Count(required=False, default=50, min_value=1, max_value=MAX_PAGE)
    cursor = Word(required=False, max_length=512)


class ProjectRowOut(serializers.Serializer[Project]):
    """A project in a list. `source` is shown without credentials."""

    project_id = serializers.CharField()
    name = serializers.CharField()
    source = serializers.SerializerMethodField()  # type: ignore[assignment]  # the column's name
    default_branch = serializers.CharField()
    is_default = serializers.BooleanField()
    ruleset_version = serializers.SerializerMethodField()
    config_hash = serializers.CharField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()

    def get_source(self, project: Project) -> str:
        """Return where the repository is."""
        return shown_source(project.source)

    def get_ruleset_version(self, project: Project) -> int | None:
        """Return the version in force."""
        return project.ruleset.version if project.ruleset else None


class ProjectListOut(serializers.Serializer[Any]):
    """A page of projects, by id; `next_cursor` null on the last one."""

    projects = ProjectRowOut(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class AgentOut(serializers.Serializer[AgentConfig]):
    """A declared builder or auditor: what it takes, not how it is started."""

    name = serializers.CharField()
    kind = serializers.CharField()
    categories = serializers.ListField(child=serializers.CharField())
    description = serializers.CharField()


class GateStepOut(serializers.Serializer[GateStep]):
    """A step of a gate: its name, not its command."""

    name = serializers.CharField()
    suite = serializers.CharField(allow_null=True)
    timeout_s = serializers.IntegerField()


class GatesOut(serializers.Serializer[Any]):
    """Both gate profiles."""

    normal = GateStepOut(many=True)
    strict = GateStepOut(many=True)


class ProjectOut(ProjectRowOut):
    """A project with what agents may know of its configuration. Commands and environments are left out."""

    protected_branches = serializers.SerializerMethodField()
    protected_paths = serializers.SerializerMethodField()
    builders = serializers.SerializerMethodField()
    auditors = serializers.SerializerMethodField()
    gates = serializers.SerializerMethodField()

    def get_protected_branches(self, project: Project) -> list[str]:
        """Return the branches that are protected beside main, master and the default one."""
        return list(project.settings.protected_branches)

    def get_protected_paths(self, project: Project) -> list[str]:
        """Return the globs that patches may not touch."""
        return list(project.settings.protected_paths)

    def get_builders(self, project: Project) -> list[dict[str, Any]]:
        """Return the declared builders."""
        return [dict(AgentOut(agent).data) for agent in project.settings.builders]

    def get_auditors(self, project: Project) -> list[dict[str, Any]]:
        """Return the declared auditors."""
        return [dict(AgentOut(agent).data) for agent in project.settings.auditors]

    def get_gates(self, project: Project) -> dict[str, Any]:
        """Return the steps of both profiles."""
        return dict(GatesOut(project.settings).data)


class RulesetRowOut(serializers.Serializer[Ruleset]):
    """A version of a project's rules, without them."""

    version = serializers.IntegerField()
    sha256 = serializers.CharField()
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField()
    is_in_force = serializers.SerializerMethodField()

    def get_is_in_force(self, ruleset: Ruleset) -> bool:
        """Tell whether runs started now are compiled from it."""
        return bool(self.context["in_force"] == ruleset.pk)


class RulesetListOut(serializers.Serializer[Any]):
    """A page of versions, newest first."""

    project_id = serializers.CharField()
    rulesets = RulesetRowOut(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class ReasonOut(serializers.Serializer[Any]):
    """One thing that stands against a promotion."""

    code = serializers.CharField()
    detail = serializers.CharField()


class PromotionOut(serializers.Serializer[Any]):
    """Whether a run may be promoted, and if not, why. `remarks` stand against nothing, and should be known."""

    run_id = serializers.CharField()
    state = serializers.CharField()
    branch = serializers.CharField()
    head_commit = serializers.CharField()
    eligible = serializers.BooleanField()
    promotion_eligible_to_main = serializers.ChoiceField(["true", "false"])
    reasons = ReasonOut(many=True)
    remarks = ReasonOut(many=True)
