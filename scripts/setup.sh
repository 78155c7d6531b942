#!/bin/sh
# Make the virtual environment `.venv` and install the locked development requirements into it.
# Does nothing, quickly, when that was done for the present lock.
set -eu
cd "$(dirname "$0")/.."
lock=requirements-dev.txt
stamp=.venv/.installed-lock
hash=$(sha256sum "$lock" requirements.txt | sha256sum | cut -d' ' -f1)
if [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null || true)" = "$hash" ]; then
    exit 0
fi

say() { printf '%s\n' "setup: $*" >&2; }

python=
for name in "${PYTHON:-}" python3.11 python3 python; do
    if [ -n "$name" ] && "$name" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
        python=$name
        break
    fi
done
if [ -z "$python" ]; then
    say "Python 3.11 was not found. Install it, or name it: make setup PYTHON=/path/to/python3.11"
    exit 1
fi

options="--disable-pip-version-check --no-input --quiet"
if ! .venv/bin/python -c '' 2>/dev/null; then
    [ -L .venv ] || rm -rf .venv
    if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        say "making .venv with $("$python" --version)"
        "$python" -m venv .venv
    elif "$python" -c 'import venv, pip' 2>/dev/null; then
        say "making .venv with $("$python" --version), pip from outside (there is no ensurepip)"
        "$python" -m venv --without-pip .venv
    else
        say "this Python can't make virtual environments. On Debian or Ubuntu: apt-get install python3.11-venv"
        exit 1
    fi
fi
if .venv/bin/python -c 'import pip' 2>/dev/null; then
    pip=".venv/bin/python -m pip"
elif "$python" -c 'import pip' 2>/dev/null; then
    pip="$python -m pip --python .venv/bin/python"
else
    say "there is no pip in .venv and none outside it: remove .venv and install python3.11-venv"
    exit 1
fi
say "installing the locked requirements: about a minute, the first time"
# Words, on purpose.
# shellcheck disable=SC2086
$pip install $options --require-hashes --no-deps -r "$lock"
printf '%s\n' "$hash" >"$stamp"
say "done"
