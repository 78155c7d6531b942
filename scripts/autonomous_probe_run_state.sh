#!/bin/sh
# Say where a run stands, as `name=value` lines, and tell it by the exit status:
#
#   0  DONE_SUCCESS          3  not ended yet            5  no such run (404)
#   1  ended in any other    2  called wrongly           6  no server, or an answer that is not Autopack's
#      way                   4  refused (401, 403)
#
# usage: AUTOPACK_URL=... AUTOPACK_TOKEN=... scripts/autonomous_probe_run_state.sh [RUN_ID]
set -eu
# shellcheck source-path=SCRIPTDIR source=autonomous_probe_lib.sh
. "$(dirname -- "$0")/autonomous_probe_lib.sh"
settle "$@"
get "/runs/$run_id"
lines=$(
    read_answer '
import json, re, sys
run = json.load(sys.stdin)
for name in ("run_id", "state", "promotion_eligible_to_main", "tokens_used", "minor_issues_count",
             "major_issues_count", "failure_reason"):
    value = "" if run[name] is None else str(run[name])
    print(name + "=" + re.sub("[^ -~]", "?", value)[:400])
phases = [phase for tier in run["tiers"] for phase in tier["phases"]]
print("phases_complete={}".format(sum(phase["state"] == "COMPLETE" for phase in phases)))
print("phases={}".format(len(phases)))
'
)
printf '%s\n' "$lines"
state=$(printf '%s\n' "$lines" | sed -n 's/^state=//p')
case $state in
    DONE_SUCCESS) exit 0 ;;
    DONE_*) exit 1 ;;
    *) exit 3 ;;
esac
