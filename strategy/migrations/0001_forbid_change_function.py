"""The trigger function behind every immutable table: `autopack_forbid_change()`.

Other apps attach it with `CREATE TRIGGER ... BEFORE UPDATE OR DELETE ... EXECUTE FUNCTION
autopack_forbid_change()` in migrations that depend on this one.
"""

from __future__ import annotations

from django.db import migrations

CREATE = """
CREATE FUNCTION autopack_forbid_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are immutable: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'integrity_constraint_violation';
END
$$
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [migrations.RunSQL(CREATE, "DROP FUNCTION autopack_forbid_change()")]
