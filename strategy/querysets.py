"""The words of the field for projects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models

if TYPE_CHECKING:
    from strategy.models import Project  # noqa: F401 (named in the type argument below)


class ProjectQuerySet(models.QuerySet["Project"]):
    """Projects by what they are to a caller."""

    def default(self) -> ProjectQuerySet:
        """Return the one project meant when none is named (none or one)."""
        return self.filter(is_default=True)

    def named(self, project_id: str) -> ProjectQuerySet:
        """Return the project with this id (none or one)."""
        return self.filter(project_id=project_id)
