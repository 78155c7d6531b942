"""A person may accept an issue until a date; then it is open again."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('issues', '0003_backlog_by_status'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='backlogentry',
            name='backlog_status_is_legal',
        ),
        migrations.AddField(
            model_name='backlogentry',
            name='accepted_until',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='backlogevent',
            name='until',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AlterField(
            model_name='backlogentry',
            name='status',
            field=models.CharField(choices=[('open', 'open'), ('needs_cleanup', 'needs_cleanup'), ('resolved', 'resolved'), ('reopened', 'reopened'), ('accepted', 'accepted')], max_length=16),
        ),
        migrations.AddIndex(
            model_name='backlogentry',
            index=models.Index(condition=models.Q(('status', 'accepted')), fields=['project', 'accepted_until'], name='backlog_accepted'),
        ),
        migrations.AddConstraint(
            model_name='backlogentry',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['open', 'needs_cleanup', 'resolved', 'reopened', 'accepted'])), name='backlog_status_is_legal'),
        ),
        migrations.AddConstraint(
            model_name='backlogentry',
            constraint=models.CheckConstraint(condition=models.Q(('status', 'accepted'), ('accepted_until', None), _connector='XOR'), name='backlog_accepted_until_a_date'),
        ),
    ]
