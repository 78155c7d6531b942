"""A project's entries are listed, counted and searched by words along indexes of their own."""

from __future__ import annotations

import django.contrib.postgres.indexes
import django.contrib.postgres.search
import django.db.models.functions.comparison
import django.db.models.functions.text
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('issues', '0007_ages_by_index'),
        ('strategy', '0005_first_revisions'),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name='backlogentry',
            name='backlog_by_status',
        ),
        migrations.RemoveIndex(
            model_name='backlogentry',
            name='backlog_key_prefix',
        ),
        migrations.AddIndex(
            model_name='backlogentry',
            index=models.Index(fields=['project', 'status', '-id'], name='backlog_project_status'),
        ),
        migrations.AddIndex(
            model_name='backlogentry',
            index=models.Index(fields=['project', 'effective_severity', '-id'], name='backlog_project_severity'),
        ),
        migrations.AddIndex(
            model_name='backlogentry',
            index=models.Index(fields=['project', 'category', '-id'], name='backlog_project_category'),
        ),
        migrations.AddIndex(
            model_name='backlogentry',
            index=django.contrib.postgres.indexes.GinIndex(django.contrib.postgres.search.SearchVector(models.Func(django.db.models.functions.text.Concat('issue_key', models.Value(' '), 'category', models.Value(' '), django.db.models.functions.comparison.Cast('paths', models.TextField()), output_field=models.TextField()), models.Value('!"#$&\'()*+,-./:;<=>?@[\\]^_`{|}~'), models.Value('                               '), function='translate', output_field=models.TextField()), config='simple'), name='backlog_words'),
        ),
    ]
