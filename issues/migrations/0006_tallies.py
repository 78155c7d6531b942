"""A run or tier ages a whole backlog by one write: entries keep their age as an offset from the project's tally.

All tallies begin at 0, where offset and age are the same number: no entry is rewritten on the way here. On the
way back the tallies are added to what is live.
"""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

_BACK = """
UPDATE issues_backlogentry AS entry
SET runs_offset = entry.runs_offset + tally.runs, tiers_offset = entry.tiers_offset + tally.tiers
FROM issues_backlogtally AS tally
WHERE entry.project_id = tally.project_id AND entry.status IN ('open', 'needs_cleanup', 'reopened')
"""


class Migration(migrations.Migration):
    dependencies = [("issues", "0005_list_indexes"), ("strategy", "0005_first_revisions")]

    operations = [
        migrations.CreateModel(
            name="BacklogTally",
            fields=[
                (
                    "project",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="backlog_tally",
                        serialize=False,
                        to="strategy.project",
                    ),
                ),
                ("runs", models.PositiveIntegerField(default=0)),
                ("tiers", models.PositiveIntegerField(default=0)),
            ],
            options={"verbose_name_plural": "backlog tallies"},
        ),
        migrations.RenameField("backlogentry", "age_in_runs", "runs_offset"),
        migrations.RenameField("backlogentry", "age_in_tiers", "tiers_offset"),
        migrations.AlterField("backlogentry", "runs_offset", models.IntegerField(default=0)),
        migrations.AlterField("backlogentry", "tiers_offset", models.IntegerField(default=0)),
        migrations.RunSQL(migrations.RunSQL.noop, _BACK),
        # how many entries a run aged was only ever a note, and to count them is what no longer happens
        migrations.AlterField("backlogaging", "entries", models.PositiveIntegerField(default=0)),
        migrations.RemoveField("backlogaging", "entries"),
    ]
