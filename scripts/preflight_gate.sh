#!/bin/sh
# Run a project's tests as a gate does: up to three attempts, a pause between them, and a report as JUnit XML.
# The tests are pytest's; arguments go to it as they are. No shell reads any of them.
#
#   CI_PROFILE              normal (unit and integration) or strict (e2e and safety_critical as well); normal
#   PREFLIGHT_ATTEMPTS      how often the tests are tried; 3
#   PREFLIGHT_BACKOFF_S     seconds between two tries; 5
#   PREFLIGHT_JUNIT         the last try's report; .reports/preflight.xml. Earlier ones: preflight-1.xml ...
#   PREFLIGHT_NORMAL_MARKS  what `normal` selects, as `pytest -m`; "not e2e and not safety_critical"
#   PREFLIGHT_STRICT_MARKS  what `strict` selects; everything
#   PYTHON                  the interpreter that has pytest; python3
#
# The exit status is the last try's own. It is 5, with the reason, when the tests passed but none was run: none
# was collected, or all were skipped. A gate that tested nothing has not passed.
set -eu

say() { printf 'preflight: %s\n' "$*" >&2; }

whole() { # name value: ends the script unless the value is a whole number
    case $2 in
        '' | *[!0-9]* | ?????*)
            say "$1 must be a whole number of at most four digits; it is '$2'"
            exit 2
            ;;
    esac
}

profile=${CI_PROFILE:-normal}
attempts=${PREFLIGHT_ATTEMPTS:-3}
backoff_s=${PREFLIGHT_BACKOFF_S:-5}
junit=${PREFLIGHT_JUNIT:-.reports/preflight.xml}
python=${PYTHON:-python3}
whole PREFLIGHT_ATTEMPTS "$attempts"
whole PREFLIGHT_BACKOFF_S "$backoff_s"
case $profile in
    normal) marks=${PREFLIGHT_NORMAL_MARKS:-not e2e and not safety_critical} ;;
    strict) marks=${PREFLIGHT_STRICT_MARKS:-} ;;
    *)
        say "CI_PROFILE must be normal or strict; it is '$profile'"
        exit 2
        ;;
esac
if [ "$attempts" -lt 1 ]; then
    say "PREFLIGHT_ATTEMPTS must be at least 1"
    exit 2
fi
mkdir -p -- "$(dirname -- "$junit")"

# Prints how many test cases of the report were really run: all but the skipped ones.
count_run() {
    "$python" -I -c '
import sys
from xml.etree import ElementTree
cases = list(ElementTree.parse(sys.argv[1]).iter("testcase"))
print(sum(case.find("skipped") is None for case in cases))
' "$junit" 2>/dev/null
}

attempt=1
while :; do
    rm -f -- "$junit"
    say "profile $profile, attempt $attempt of $attempts"
    status=0
    "$python" -m pytest --junit-xml="$junit" -m "$marks" "$@" || status=$?
    if [ "$status" -eq 0 ]; then
        if ! run=$(count_run); then
            say "FAILED: the tests left no readable report at $junit, so nothing shows that any was run"
            exit 5
        fi
        if [ "$run" -eq 0 ]; then
            say "FAILED: no test was run (all were skipped)"
            exit 5
        fi
        if [ "$attempt" -gt 1 ]; then
            say "passed at attempt $attempt of $attempts: FLAKY, $run tests"
        else
            say "passed, $run tests"
        fi
        exit 0
    fi
    case $status in
        4)
            say "FAILED: pytest was called wrongly"
            exit 4
            ;;
        5)
            say "FAILED: no test was run (none was collected)"
            exit 5
            ;;
    esac
    if [ "$attempt" -ge "$attempts" ]; then
        say "FAILED with status $status in each of $attempts attempts"
        exit "$status"
    fi
    if [ -f "$junit" ]; then cp -- "$junit" "${junit%.xml}-$attempt.xml"; fi
    say "attempt $attempt failed with status $status; again in $backoff_s s"
    sleep "$backoff_s"
    attempt=$((attempt + 1))
done
