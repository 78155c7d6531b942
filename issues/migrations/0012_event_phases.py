"""An event names the phase that it is from, and the joints that a phase has made are counted."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('issues', '0011_fixed_by'),
    ]

    operations = [
        migrations.AddField(
            model_name='backlogevent',
            name='phase_id',
            field=models.CharField(blank=True, db_default='', default='', max_length=128),
        ),
        migrations.AddIndex(
            model_name='backlogevent',
            index=models.Index(condition=models.Q(('event', 'absorbed')), fields=['run_id', 'phase_id'], name='backlog_event_joint'),
        ),
    ]
