"""The page of stuck work finds moves that were given up by an index."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('integration', '0002_metric_totals'),
        ('runs', '0002_history_immutable'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='gitintent',
            index=models.Index(condition=models.Q(('state', 'CONFLICT')), fields=['ended_at'], name='git_intent_given_up'),
        ),
    ]
