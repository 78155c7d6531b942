#!/bin/sh
# Try the two commands as a stranger would: clone this repository's HEAD into a folder of its own, run `make demo` and
# `make test` there (or the targets that are named), time each, and say what is left running.
#
#     scripts/fresh_clone.sh [TARGET ...]
#     FRESH_UID=12345 scripts/fresh_clone.sh demo      as root: as that ordinary user, who must be in /etc/passwd
#
# Servers that others start meanwhile count as left running, so let nobody else be at work. Prints one JSON line a
# target; exit status 1 where one failed, took longer than it may, or left a process behind.
set -eu
cd "$(dirname "$0")/.."
source=$PWD
folder=$(mktemp -d "${TMPDIR:-/tmp}/autopack-fresh-XXXXXX")
trap 'rm -rf "$folder"' EXIT
git clone --quiet --no-local "file://$source" "$folder/autopack"
as=
who=$(id -un)
if [ -n "${FRESH_UID:-}" ]; then
    who=$(getent passwd "$FRESH_UID" | cut -d: -f1)
    chown -R "$FRESH_UID" "$folder"
    chmod 755 "$folder"
    as="setpriv --reuid=$FRESH_UID --regid=$FRESH_UID --clear-groups"
fi

servers() { # what the commands start, with its process id; the servers run in folders and accounts of their own
    for process in /proc/[0-9]*; do
        name=$(cat "$process/comm" 2>/dev/null) || continue
        case $name in
        postgres | redis-server | gunicorn | celery | python* | bwrap) echo "${process#/proc/} $name" ;;
        esac
    done | sort
}

servers >"$folder/before"
left() { servers | comm -13 "$folder/before" -; }

[ $# -gt 0 ] || set -- demo test
failed=0
for target in "$@"; do
    case $target in demo) limit=180 ;; test) limit=600 ;; *) limit=3600 ;; esac
    began=$(date +%s)
    status=0
    # Words, on purpose.
    # shellcheck disable=SC2086
    (cd "$folder/autopack" && $as env -u AUTOPACK_STATE_DIR HOME="$folder" USER="$who" make "$target" </dev/null) \
        >"$folder/$target.log" 2>&1 || status=$?
    took=$(($(date +%s) - began))
    still=$(left | wc -l)
    printf '{"target": "%s", "as": "%s", "status": %s, "seconds": %s, "limit": %s, "left_running": %s}\n' \
        "$target" "$who" "$status" "$took" "$limit" "$still"
    if [ "$status" -ne 0 ] || [ "$took" -gt "$limit" ] || [ "$still" -ne 0 ]; then
        failed=1
        left >&2
        tail -n 40 "$folder/$target.log" >&2
    fi
done
exit "$failed"
