"""What has reached a threshold, and what is oldest, is found by an index; ages stand still while not live."""

from __future__ import annotations

from django.db import migrations, models

_LIVE = models.Q(status__in=["open", "needs_cleanup", "reopened"])
_AGEABLE = models.Q(status__in=["open", "reopened"])


class Migration(migrations.Migration):
    dependencies = [("issues", "0006_tallies")]

    operations = [
        migrations.AddIndex(
            "backlogentry",
            models.Index(
                fields=["project", "-runs_offset", "-tiers_offset", "issue_key"],
                condition=_LIVE,
                name="backlog_oldest",
            ),
        ),
        migrations.AddIndex(
            "backlogentry",
            models.Index(fields=["project", "opened_at"], condition=_LIVE, name="backlog_opened"),
        ),
        migrations.AddIndex(
            "backlogentry",
            models.Index(
                fields=["project", "runs_offset", "id"], condition=_AGEABLE, name="backlog_due_runs"
            ),
        ),
        migrations.AddIndex(
            "backlogentry",
            models.Index(
                fields=["project", "tiers_offset", "id"], condition=_AGEABLE, name="backlog_due_tiers"
            ),
        ),
        migrations.AddConstraint(
            "backlogentry",
            models.CheckConstraint(
                condition=_LIVE | models.Q(runs_offset__gte=0, tiers_offset__gte=0),
                name="backlog_ages_are_kept",
            ),
        ),
    ]
