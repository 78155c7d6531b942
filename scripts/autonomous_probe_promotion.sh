#!/bin/sh
# Say whether a run may be promoted and what stands against it, as `name=value` lines, and tell it by the exit status:
#
#   0  it may be promoted    3  not ended yet            5  no such run (404)
#   1  it may not            2  called wrongly           6  no server, or an answer that is not Autopack's
#                            4  refused (401, 403)
#
# usage: AUTOPACK_URL=... AUTOPACK_TOKEN=... scripts/autonomous_probe_promotion.sh [RUN_ID]
set -eu
# shellcheck source-path=SCRIPTDIR source=autonomous_probe_lib.sh
. "$(dirname -- "$0")/autonomous_probe_lib.sh"
settle "$@"
get "/runs/$run_id/promotion"
lines=$(
    read_answer '
import json, re, sys
run = json.load(sys.stdin)
def line(name, value):
    print(name + "=" + re.sub("[^ -~]", "?", "" if value is None else str(value))[:400])
for name in ("run_id", "state", "head_commit", "promotion_eligible_to_main"):
    line(name, run[name])
for reason in run["reasons"]:
    line("reason", reason["code"] + ": " + reason["detail"])
'
)
printf '%s\n' "$lines"
case $(printf '%s\n' "$lines" | sed -n 's/^state=//p') in
    DONE_*) ;;
    *) exit 3 ;;
esac
if printf '%s\n' "$lines" | grep -qx 'promotion_eligible_to_main=true'; then exit 0; fi
exit 1
