"""Counters and caps by envelope and in money. What was used so far is told by the lines."""

from __future__ import annotations

from django.db import migrations, models

# Lines set by hand were all the builders': no envelope may come to more than the whole.
BY_AUDITORS = """
WITH lines AS (
    SELECT {key} AS key,
        COALESCE(SUM(tokens) FILTER (WHERE kind IN ('settle', 'adjust')), 0) AS used,
        COALESCE(SUM(CASE kind WHEN 'reserve' THEN tokens WHEN 'release' THEN -tokens END), 0) AS held
    FROM runs_tokenentry WHERE envelope = 'audit' AND {key} IS NOT NULL GROUP BY {key}
)
UPDATE {table} AS t SET
    audit_tokens_used = LEAST(GREATEST(lines.used, 0), t.tokens_used),
    audit_tokens_reserved = LEAST(GREATEST(lines.held, 0), t.tokens_reserved)
FROM lines WHERE t.{pk} = lines.key
"""
# What agents said so far counts as their cost: there was no price table. Anything but a number is no cost.
BY_ATTEMPT = """
UPDATE runs_attempt SET cost_micro_usd = round(LEAST(GREATEST((usage->>'cost_usd')::numeric, 0), 1000000) * 1000000)
WHERE jsonb_typeof(usage->'cost_usd') = 'number'
"""
BY_ALL = """
WITH sums AS (
    SELECT p.id, p.tier_id, p.run_id, SUM(a.cost_micro_usd) AS cost
    FROM runs_attempt a JOIN runs_phase p ON p.id = a.phase_id WHERE a.cost_micro_usd > 0 GROUP BY p.id
), lines AS (SELECT {of} AS key, SUM(cost) AS cost FROM sums GROUP BY {of})
UPDATE {table} AS t SET cost_micro_usd = lines.cost FROM lines WHERE t.{pk} = lines.key
"""
TABLES = (("runs_phase", "id", "phase_id"), ("runs_tier", "id", "tier_id"), ("runs_run", "run_id", "run_id"))


class Migration(migrations.Migration):

    dependencies = [
        ('runs', '0005_meters'),
        ('strategy', '0005_first_revisions'),
    ]

    operations = [
        migrations.AddField(
            model_name='attempt',
            name='cost_cap_micro_usd',
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='attempt',
            name='cost_limit',
            field=models.CharField(blank=True, db_default='', default='', max_length=64),
        ),
        migrations.AddField(
            model_name='attempt',
            name='cost_micro_usd',
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='attempt',
            name='cost_reserved_micro_usd',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='attempt',
            name='priced_micro_usd',
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='attempt',
            name='token_limit',
            field=models.CharField(blank=True, db_default='', default='', max_length=64),
        ),
        migrations.AddField(
            model_name='phase',
            name='audit_tokens_reserved',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='phase',
            name='audit_tokens_used',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='phase',
            name='cost_micro_usd',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='phase',
            name='cost_reserved_micro_usd',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='run',
            name='audit_token_cap',
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='run',
            name='audit_tokens_reserved',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='run',
            name='audit_tokens_used',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='run',
            name='build_token_cap',
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='run',
            name='cost_cap_micro_usd',
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='run',
            name='cost_micro_usd',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='run',
            name='cost_reserved_micro_usd',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='tier',
            name='audit_token_cap',
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='tier',
            name='audit_tokens_reserved',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='tier',
            name='audit_tokens_used',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='tier',
            name='build_token_cap',
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='tier',
            name='cost_cap_micro_usd',
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='tier',
            name='cost_micro_usd',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='tier',
            name='cost_reserved_micro_usd',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='tokenentry',
            name='micro_usd',
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AlterField(
            model_name='run',
            name='token_cap',
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AlterField(
            model_name='tier',
            name='token_cap',
            field=models.BigIntegerField(blank=True, null=True),
        ),
        *(
            migrations.RunSQL(
                BY_AUDITORS.format(table=table, pk=pk, key=key), reverse_sql=migrations.RunSQL.noop
            )
            for table, pk, key in TABLES
        ),
        migrations.RunSQL(BY_ATTEMPT, reverse_sql=migrations.RunSQL.noop),
        *(
            migrations.RunSQL(
                BY_ALL.format(table=table, pk=pk, of="id" if key == "phase_id" else key),
                reverse_sql=migrations.RunSQL.noop,
            )
            for table, pk, key in TABLES
        ),
        migrations.AddConstraint(
            model_name='attempt',
            constraint=models.CheckConstraint(condition=models.Q(('cost_reserved_micro_usd__gte', 0), models.Q(('cost_micro_usd', None), ('cost_micro_usd__gte', 0), _connector='OR')), name='attempt_cost_not_negative'),
        ),
        migrations.AddConstraint(
            model_name='phase',
            constraint=models.CheckConstraint(condition=models.Q(('audit_tokens_used__gte', 0), ('audit_tokens_used__lte', models.F('tokens_used')), ('audit_tokens_reserved__gte', 0), ('audit_tokens_reserved__lte', models.F('tokens_reserved')), ('cost_micro_usd__gte', 0), ('cost_reserved_micro_usd__gte', 0)), name='phase_counters_add_up'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.CheckConstraint(condition=models.Q(('audit_tokens_used__gte', 0), ('audit_tokens_used__lte', models.F('tokens_used')), ('audit_tokens_reserved__gte', 0), ('audit_tokens_reserved__lte', models.F('tokens_reserved')), ('cost_micro_usd__gte', 0), ('cost_reserved_micro_usd__gte', 0)), name='run_counters_add_up'),
        ),
        migrations.AddConstraint(
            model_name='tier',
            constraint=models.CheckConstraint(condition=models.Q(('audit_tokens_used__gte', 0), ('audit_tokens_used__lte', models.F('tokens_used')), ('audit_tokens_reserved__gte', 0), ('audit_tokens_reserved__lte', models.F('tokens_reserved')), ('cost_micro_usd__gte', 0), ('cost_reserved_micro_usd__gte', 0)), name='tier_counters_add_up'),
        ),
        migrations.AddConstraint(
            model_name='tokenentry',
            constraint=models.CheckConstraint(condition=models.Q(('kind', 'adjust'), ('micro_usd', None), ('micro_usd__gte', 0), _connector='OR'), name='token_entry_money_not_negative'),
        ),
    ]
