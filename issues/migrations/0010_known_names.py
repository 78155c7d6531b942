"""Issues that are there get their own keys as names, and the reporters of their sightings as votes."""

from __future__ import annotations

from django.db import migrations

BATCH = 20_000
_NAMES = """
INSERT INTO issues_issuename
    (project_id, kind, name, issue_key, cause, site, former, is_fixed, is_pinned, created_at)
SELECT project_id, 'key', issue_key, issue_key, '', '', '[]', false, false, first_seen_at
FROM issues_backlogentry WHERE id > %s AND id <= %s
ON CONFLICT DO NOTHING
"""
_VOTES = """
INSERT INTO issues_vote (entry_id, reporter, at)
SELECT entry.id, voter.name, min(issue.first_seen_at)
FROM issues_issue AS issue
    JOIN runs_phase AS phase ON phase.id = issue.phase_id
    JOIN runs_run AS run ON run.run_id = phase.run_id
    JOIN issues_backlogentry AS entry ON entry.project_id = run.project_id AND entry.issue_key = issue.issue_key
    CROSS JOIN LATERAL jsonb_array_elements_text(issue.reporters) AS voter (name)
WHERE issue.id > %s AND issue.id <= %s
GROUP BY entry.id, voter.name
ON CONFLICT DO NOTHING
"""


def fill(apps, schema_editor) -> None:
    """Write both, a batch of rows after the other."""
    for model, statement in (("BacklogEntry", _NAMES), ("Issue", _VOTES)):
        last = apps.get_model("issues", model).objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        for start in range(0, last, BATCH):
            with schema_editor.connection.cursor() as cursor:
                cursor.execute(statement, [start, start + BATCH])


class Migration(migrations.Migration):
    dependencies = [("issues", "0009_names_and_votes")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
