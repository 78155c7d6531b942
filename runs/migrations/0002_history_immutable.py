"""Transitions and ledger lines are only ever appended: the database itself refuses a change."""

from __future__ import annotations

from django.db import migrations

TABLES = ("runs_transition", "runs_tokenentry")


class Migration(migrations.Migration):
    dependencies = [("runs", "0001_runs"), ("strategy", "0001_forbid_change_function")]

    operations = [
        migrations.RunSQL(
            sql=f"""
                CREATE TRIGGER {table}_immutable BEFORE UPDATE OR DELETE ON {table}
                FOR EACH ROW EXECUTE FUNCTION autopack_forbid_change();
            """,
            reverse_sql=f"DROP TRIGGER {table}_immutable ON {table};",
        )
        for table in TABLES
    ]
