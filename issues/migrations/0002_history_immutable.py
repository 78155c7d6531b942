"""What happened to a backlog is only ever appended: the database itself refuses a change."""

from __future__ import annotations

from django.db import migrations

TABLES = ("issues_backlogevent", "issues_backlogaging")


class Migration(migrations.Migration):
    dependencies = [("issues", "0001_issues"), ("strategy", "0001_forbid_change_function")]

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
