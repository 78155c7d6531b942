#!/bin/sh
# List a run's distinct issues, worst first: `severity occurrences category key`, then `minor=N` and `major=N`.
# Severity is the effective one. The exit status tells whether one of them is major:
#
#   0  no major issue        2  called wrongly           5  no such run (404)
#   1  at least one          4  refused (401, 403)       6  no server, or an answer that is not Autopack's
#
# usage: AUTOPACK_URL=... AUTOPACK_TOKEN=... scripts/autonomous_probe_issues.sh [RUN_ID]
set -eu
# shellcheck source-path=SCRIPTDIR source=autonomous_probe_lib.sh
. "$(dirname -- "$0")/autonomous_probe_lib.sh"
settle "$@"
get "/runs/$run_id/issues/index"
lines=$(
    read_answer '
import json, re, sys
entries = json.load(sys.stdin)["issues_by_key"]
rows = [(entry["effective_severity"], entry["occurrence_count"], entry["category"], key)
        for key, entry in entries.items()]
for row in sorted(rows, key=lambda row: (row[0] != "major", -row[1], row[3])):
    print(re.sub("[^ -~]", "?", "{} {} {} {}".format(*row))[:400])
for severity in ("minor", "major"):
    print("{}={}".format(severity, sum(row[0] == severity for row in rows)))
'
)
printf '%s\n' "$lines"
major=$(printf '%s\n' "$lines" | sed -n '$s/^major=//p')
[ "$major" = 0 ] || exit 1
