"""Each state of a project's configuration is kept, and is immutable like the rulesets."""

from __future__ import annotations

import autopack_site.kernel.clock
import django.db.models.deletion
from django.db import migrations, models

TABLE = "strategy_projectrevision"


class Migration(migrations.Migration):

    dependencies = [
        ('strategy', '0003_rulesets_strategies_immutable'),
    ]

    operations = [
        migrations.CreateModel(
            name='ProjectRevision',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField()),
                ('config_text', models.TextField(blank=True)),
                ('config', models.JSONField()),
                ('config_hash', models.CharField(max_length=64)),
                ('created_at', models.DateTimeField(default=autopack_site.kernel.clock.now, editable=False)),
                ('created_by', models.CharField(max_length=150)),
                ('why', models.TextField(blank=True, default='')),
                ('project', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='revisions', to='strategy.project')),
            ],
            options={
                'ordering': ['project', '-number'],
                'constraints': [models.UniqueConstraint(fields=('project', 'number'), name='strategy_revision_number'), models.CheckConstraint(condition=models.Q(('number__gte', 1)), name='strategy_revision_number_positive')],
            },
        ),
        migrations.RunSQL(
            f"CREATE TRIGGER {TABLE}_immutable BEFORE UPDATE OR DELETE ON {TABLE} "
            "FOR EACH ROW EXECUTE FUNCTION autopack_forbid_change()",
            f"DROP TRIGGER {TABLE}_immutable ON {TABLE}",
        ),
    ]
