"""Projects that are there get their present configuration as revision 1."""

from __future__ import annotations

import json

from django.db import migrations

BATCH = 200


def fill(apps, schema_editor) -> None:
    """Write revision 1 of each project that has none. The text is the configuration as JSON, which is read too."""
    revisions = apps.get_model("strategy", "ProjectRevision").objects
    projects = apps.get_model("strategy", "Project").objects.filter(revisions=None).order_by("pk")
    while batch := list(projects[:BATCH]):
        revisions.bulk_create(
            revisions.model(
                project=project,
                number=1,
                config_text=json.dumps(project.config, indent=2, ensure_ascii=False),
                config=project.config,
                config_hash=project.config_hash,
                created_by="upgrade",
                created_at=project.updated_at,
                why="the configuration in force when revisions were first kept",
            )
            for project in batch
        )


class Migration(migrations.Migration):
    dependencies = [("strategy", "0004_project_revisions")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
