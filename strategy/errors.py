"""Typed errors of the strategy app."""

from __future__ import annotations

from autopack_site.kernel.errors import Conflict, Invalid, NotFound


class TooManyPhases(Invalid):
    """The plan holds more phases than the run may have."""

    code = "too-many-phases"
    title = "The plan has more phases than the run may have"


class NoProject(Invalid):
    """No project was named and none is marked as default."""

    code = "no-project"
    title = "No project was named and no project is marked as default"


class NoRuleset(Invalid):
    """The project has no ruleset in force."""

    code = "no-ruleset"
    title = "The project has no ruleset in force"


class ProjectNotFound(NotFound):
    """No project has this id."""

    code = "project-not-found"
    title = "Project not found"


class RulesetNotFound(NotFound):
    """The project has no ruleset of this version."""

    code = "ruleset-not-found"
    title = "Ruleset not found"


class ProjectExists(Conflict):
    """A project with this id exists already."""

    code = "project-exists"
    title = "A project with this id exists already"


class StrategyFrozen(Conflict):
    """The run has a strategy already, with other content."""

    code = "strategy-frozen"
    title = "The run's strategy is frozen"


class ConfigMoved(Conflict):
    """Somebody else has changed the configuration since it was read."""

    code = "config-moved"
    title = "The configuration has changed meanwhile"


class RulesetMoved(Conflict):
    """Another version is in force than the one that was read."""

    code = "ruleset-moved"
    title = "Another version of the ruleset is in force meanwhile"


class NothingChanged(Conflict):
    """The new content is the one in force."""

    code = "nothing-changed"
    title = "Nothing would change"


class NotCanonical(ValueError):
    """A value has no canonical JSON form (RFC 8785): a programming error, never a caller's."""
