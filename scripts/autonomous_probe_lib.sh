# shellcheck shell=sh
# What both probes share; sourced by them, not run. It needs curl and python3.
#
#   AUTOPACK_URL    where Autopack answers (http://127.0.0.1:8790)
#   AUTOPACK_TOKEN  a bearer token of any role; none is sent when it is empty
#   AUTOPACK_RUN_ID the run, when it is not the first argument
#
# What the server answers may hold text of agents: it is read as data and printed with everything but plain
# ASCII replaced. The token is handed to curl on its standard input, so that no list of processes shows it.

EXIT_USAGE=2
EXIT_REFUSED=4   # 401 or 403
EXIT_NOT_FOUND=5 # 404
EXIT_NO_ANSWER=6 # no server, an answer that is not Autopack's, or an error of the server

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

fail() { # status message
    status=$1
    shift
    say "$*"
    exit "$status"
}

# Sets url, token and run_id from the environment and the first argument.
settle() {
    if [ "$#" -gt 1 ]; then
        fail "$EXIT_USAGE" "usage: ${0##*/} [RUN_ID]"
    fi
    url=${AUTOPACK_URL:-http://127.0.0.1:8790}
    url=${url%/}
    token=${AUTOPACK_TOKEN:-}
    run_id=${1:-${AUTOPACK_RUN_ID:-}}
    case $url in
        http://* | https://*) ;;
        *) fail "$EXIT_USAGE" "AUTOPACK_URL must begin with http:// or https://" ;;
    esac
    case $run_id in
        '') fail "$EXIT_USAGE" "name a run: ${0##*/} RUN_ID, or AUTOPACK_RUN_ID" ;;
        [!A-Za-z0-9]* | *[!A-Za-z0-9._-]* | *..*) fail "$EXIT_USAGE" "that is not the id of a run" ;;
    esac
    case $token in
        *[!A-Za-z0-9._~+/=-]*) fail "$EXIT_USAGE" "AUTOPACK_TOKEN holds characters that no token has" ;;
    esac
    if ! command -v curl >/dev/null 2>&1; then
        fail "$EXIT_USAGE" "curl is needed"
    fi
    if ! python3 -I -c '' >/dev/null 2>&1; then
        fail "$EXIT_USAGE" "python3 is needed"
    fi
    answer=$(mktemp)
    trap 'rm -f "$answer"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

# Gets a path of the API into $answer, or ends the script with what stands in the way.
get() { # path
    code=$(
        {
            printf 'header = "Accept: application/json"\n'
            if [ -n "$token" ]; then printf 'header = "Authorization: Bearer %s"\n' "$token"; fi
        } | curl --config - --globoff --silent --show-error --max-time 30 --max-filesize 67108864 --output "$answer" \
            --write-out '%{http_code}' -- "$url$1"
    ) || fail "$EXIT_NO_ANSWER" "there is no answer from $url"
    case $code in
        200) ;;
        401) fail "$EXIT_REFUSED" "401: the token is missing, unknown, expired or revoked (AUTOPACK_TOKEN)" ;;
        403) fail "$EXIT_REFUSED" "403: the token may not see this" ;;
        404) fail "$EXIT_NOT_FOUND" "404: there is no run $run_id" ;;
        *) fail "$EXIT_NO_ANSWER" "$url answered $code" ;;
    esac
}

# Prints $answer through a Python program, or ends the script.
read_answer() { # program
    python3 -I -c "$1" <"$answer" 2>/dev/null || fail "$EXIT_NO_ANSWER" "$url answered something that is not Autopack's"
}
