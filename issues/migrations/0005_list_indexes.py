"""Lists of issues and backlogs answer from an index whatever their size."""

from __future__ import annotations

import django.contrib.postgres.indexes
import django.db.models.functions.text
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('issues', '0004_acceptance'),
        ('runs', '0002_history_immutable'),
        ('strategy', '0005_first_revisions'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='backlogentry',
            index=models.Index(fields=['project', '-id'], name='backlog_list_project'),
        ),
        migrations.AddIndex(
            model_name='backlogentry',
            index=models.Index(fields=['status', '-id'], name='backlog_list_status'),
        ),
        migrations.AddIndex(
            model_name='backlogentry',
            index=models.Index(fields=['category', '-id'], name='backlog_list_category'),
        ),
        migrations.AddIndex(
            model_name='backlogentry',
            index=models.Index(condition=models.Q(('effective_severity', 'major')), fields=['-id'], name='backlog_list_major'),
        ),
        migrations.AddIndex(
            model_name='backlogentry',
            index=models.Index(django.contrib.postgres.indexes.OpClass(django.db.models.functions.text.Upper('issue_key'), 'text_pattern_ops'), name='backlog_key_prefix'),
        ),
        migrations.AddIndex(
            model_name='issue',
            index=models.Index(condition=models.Q(('effective_severity', 'major')), fields=['-id'], name='issue_list_major'),
        ),
        migrations.AddIndex(
            model_name='issue',
            index=models.Index(condition=models.Q(('expected_fail', True)), fields=['-id'], name='issue_list_expected'),
        ),
        migrations.AddIndex(
            model_name='issue',
            index=models.Index(django.contrib.postgres.indexes.OpClass(django.db.models.functions.text.Upper('issue_key'), 'text_pattern_ops'), name='issue_key_prefix'),
        ),
    ]
