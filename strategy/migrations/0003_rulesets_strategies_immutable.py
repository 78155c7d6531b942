"""Rulesets and strategies are never changed or deleted."""

from __future__ import annotations

from django.db import migrations

TABLES = ("strategy_ruleset", "strategy_strategy")


def trigger(table: str) -> migrations.RunSQL:
    return migrations.RunSQL(
        f"CREATE TRIGGER {table}_immutable BEFORE UPDATE OR DELETE ON {table} "
        "FOR EACH ROW EXECUTE FUNCTION autopack_forbid_change()",
        f"DROP TRIGGER {table}_immutable ON {table}",
    )


class Migration(migrations.Migration):
    dependencies = [("strategy", "0002_projects_rulesets_strategies")]
    operations = [trigger(table) for table in TABLES]
