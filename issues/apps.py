"""Django app configuration."""

from __future__ import annotations

from django.apps import AppConfig


class IssuesConfig(AppConfig):
    """The issues app."""

    name = "issues"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Teach index expressions operator classes, as `django.contrib.postgres` would.

        That app itself would also ask each new connection for types that nothing here uses.
        """
        from django.contrib.postgres.indexes import OpClass
        from django.db.models.expressions import OrderBy
        from django.db.models.functions import Collate
        from django.db.models.indexes import IndexExpression

        IndexExpression.register_wrappers(OrderBy, OpClass, Collate)
