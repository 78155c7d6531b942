import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('runs', '0002_history_immutable'),
        ('strategy', '0003_rulesets_strategies_immutable'),
    ]

    operations = [
        migrations.CreateModel(
            name='BacklogEntry',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('issue_key', models.CharField(max_length=256)),
                ('category', models.CharField(max_length=64)),
                ('base_severity', models.CharField(choices=[('minor', 'minor'), ('major', 'major')], max_length=8)),
                ('effective_severity', models.CharField(choices=[('minor', 'minor'), ('major', 'major')], max_length=8)),
                ('status', models.CharField(choices=[('open', 'open'), ('needs_cleanup', 'needs_cleanup'), ('resolved', 'resolved'), ('reopened', 'reopened')], max_length=16)),
                ('age_in_runs', models.PositiveIntegerField(default=0)),
                ('age_in_tiers', models.PositiveIntegerField(default=0)),
                ('occurrence_count', models.PositiveBigIntegerField()),
                ('first_seen_run_id', models.CharField(max_length=128)),
                ('last_seen_run_id', models.CharField(max_length=128)),
                ('first_seen_at', models.DateTimeField()),
                ('last_seen_at', models.DateTimeField()),
                ('opened_at', models.DateTimeField()),
                ('seen_in_runs', models.JSONField(default=list)),
                ('seen_in_tiers', models.JSONField(default=list)),
                ('paths', models.JSONField(blank=True, default=list)),
                ('scopes', models.JSONField(blank=True, default=list)),
                ('project', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='backlog', to='strategy.project')),
            ],
            options={
                'verbose_name_plural': 'backlog entries',
                'ordering': ['project', 'issue_key'],
            },
        ),
        migrations.CreateModel(
            name='BacklogEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('event', models.CharField(max_length=16)),
                ('from_status', models.CharField(blank=True, default='', max_length=16)),
                ('to_status', models.CharField(max_length=16)),
                ('who', models.CharField(max_length=128)),
                ('why', models.TextField(blank=True, default='')),
                ('run_id', models.CharField(blank=True, default='', max_length=128)),
                ('correlation_id', models.CharField(blank=True, default='', max_length=128)),
                ('at', models.DateTimeField()),
                ('entry', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='events', to='issues.backlogentry')),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.CreateModel(
            name='Issue',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('issue_key', models.CharField(max_length=256)),
                ('severity', models.CharField(choices=[('minor', 'minor'), ('major', 'major')], max_length=8)),
                ('effective_severity', models.CharField(choices=[('minor', 'minor'), ('major', 'major')], max_length=8)),
                ('source', models.CharField(max_length=64)),
                ('category', models.CharField(max_length=64)),
                ('task_category', models.CharField(blank=True, default='', max_length=64)),
                ('complexity', models.CharField(blank=True, default='', max_length=32)),
                ('expected_fail', models.BooleanField(default=False)),
                ('occurrence_count', models.PositiveIntegerField()),
                ('first_seen_run', models.CharField(max_length=128)),
                ('last_seen_run', models.CharField(max_length=128)),
                ('first_seen_at', models.DateTimeField()),
                ('last_seen_at', models.DateTimeField()),
                ('evidence_refs', models.JSONField(blank=True, default=list)),
                ('reporters', models.JSONField(blank=True, default=list)),
                ('description', models.TextField(blank=True, default='')),
                ('phase', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='issues', to='runs.phase')),
            ],
            options={
                'ordering': ['phase', 'issue_key'],
            },
        ),
        migrations.CreateModel(
            name='RunIndexEntry',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('issue_key', models.CharField(max_length=256)),
                ('severity', models.CharField(choices=[('minor', 'minor'), ('major', 'major')], max_length=8)),
                ('effective_severity', models.CharField(choices=[('minor', 'minor'), ('major', 'major')], max_length=8)),
                ('category', models.CharField(max_length=64)),
                ('expected_fail', models.BooleanField(default=False)),
                ('first_phase_index', models.IntegerField()),
                ('last_phase_index', models.IntegerField()),
                ('occurrence_count', models.PositiveIntegerField()),
                ('seen_in_tiers', models.JSONField(default=list)),
                ('seen_in_phases', models.JSONField(default=list)),
                ('run', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='issue_index', to='runs.run')),
            ],
            options={
                'verbose_name_plural': 'run index entries',
                'ordering': ['run', 'issue_key'],
            },
        ),
        migrations.CreateModel(
            name='TierIssue',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('issue_key', models.CharField(max_length=256)),
                ('effective_severity', models.CharField(choices=[('minor', 'minor'), ('major', 'major')], max_length=8)),
                ('tier', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='issue_keys', to='runs.tier')),
            ],
            options={
                'ordering': ['tier', 'issue_key'],
            },
        ),
        migrations.CreateModel(
            name='BacklogAging',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('run_id', models.CharField(max_length=128)),
                ('tier_id', models.CharField(blank=True, default='', max_length=128)),
                ('entries', models.PositiveIntegerField()),
                ('at', models.DateTimeField()),
                ('project', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='backlog_agings', to='strategy.project')),
            ],
            options={
                'ordering': ['id'],
                'constraints': [models.UniqueConstraint(fields=('project', 'run_id', 'tier_id'), name='one_aging_a_run_and_tier')],
            },
        ),
        migrations.AddIndex(
            model_name='backlogentry',
            index=models.Index(condition=models.Q(('status__in', ['open', 'needs_cleanup', 'reopened'])), fields=['project', 'issue_key'], name='backlog_live'),
        ),
        migrations.AddConstraint(
            model_name='backlogentry',
            constraint=models.UniqueConstraint(fields=('project', 'issue_key'), name='one_issue_a_key_and_project'),
        ),
        migrations.AddConstraint(
            model_name='backlogentry',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['open', 'needs_cleanup', 'resolved', 'reopened'])), name='backlog_status_is_legal'),
        ),
        migrations.AddConstraint(
            model_name='backlogentry',
            constraint=models.CheckConstraint(condition=models.Q(('base_severity__in', ['minor', 'major']), models.Q(('effective_severity', 'major'), models.Q(('base_severity', 'minor'), ('effective_severity', 'minor')), _connector='OR')), name='backlog_severities_are_legal'),
        ),
        migrations.AddConstraint(
            model_name='backlogentry',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('status', 'needs_cleanup'), _negated=True), ('effective_severity', 'major'), _connector='OR'), name='backlog_aged_counts_as_major'),
        ),
        migrations.AddConstraint(
            model_name='issue',
            constraint=models.UniqueConstraint(fields=('phase', 'issue_key'), name='one_issue_a_key_and_phase'),
        ),
        migrations.AddConstraint(
            model_name='issue',
            constraint=models.CheckConstraint(condition=models.Q(('severity__in', ['minor', 'major']), models.Q(('effective_severity', 'major'), models.Q(('effective_severity', 'minor'), ('severity', 'minor')), _connector='OR')), name='issue_severities_are_legal'),
        ),
        migrations.AddConstraint(
            model_name='issue',
            constraint=models.CheckConstraint(condition=models.Q(('occurrence_count__gte', 1)), name='issue_was_seen'),
        ),
        migrations.AddConstraint(
            model_name='runindexentry',
            constraint=models.UniqueConstraint(fields=('run', 'issue_key'), name='one_issue_a_key_and_run'),
        ),
        migrations.AddConstraint(
            model_name='runindexentry',
            constraint=models.CheckConstraint(condition=models.Q(('severity__in', ['minor', 'major']), models.Q(('effective_severity', 'major'), models.Q(('effective_severity', 'minor'), ('severity', 'minor')), _connector='OR')), name='run_index_severities_are_legal'),
        ),
        migrations.AddConstraint(
            model_name='runindexentry',
            constraint=models.CheckConstraint(condition=models.Q(('first_phase_index__lte', models.F('last_phase_index'))), name='run_index_phases_in_order'),
        ),
        migrations.AddConstraint(
            model_name='tierissue',
            constraint=models.UniqueConstraint(fields=('tier', 'issue_key'), name='one_issue_a_key_and_tier'),
        ),
        migrations.AddConstraint(
            model_name='tierissue',
            constraint=models.CheckConstraint(condition=models.Q(('effective_severity__in', ['minor', 'major'])), name='tier_issue_severity_is_legal'),
        ),
    ]
