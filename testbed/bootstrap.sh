#!/bin/sh
# Makes .venv from the hashed locks. Needs nothing but a Python >= 3.11; on Debian and Ubuntu, as root, it
# installs the package that Python's venv module misses there.
set -eu
cd "$(dirname "$0")/.."
venv=.venv
python=${PYTHON:-python3}

say() { printf '%s\n' "$*" >&2; }

if ! command -v "$python" >/dev/null 2>&1; then
    say "No $python on PATH: install Python 3.11 or later (Debian, Ubuntu: apt-get install python3 python3-venv), or name one: make PYTHON=/path/to/python3"
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    say "$python is $("$python" -V 2>&1), and this project needs 3.11 or later: name a newer one with make PYTHON=/path/to/python3"
    exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        say "Installing the Debian package python3-venv (Python's venv module is not there)"
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
    else
        say "Python's venv module is missing: install it (Debian, Ubuntu: apt-get install python3-venv) and run this again"
        exit 1
    fi
fi
if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c '' 2>/dev/null; then
    say "Creating $venv with $("$python" -V 2>&1)"
    "$python" -m venv --clear "$venv"
fi
say "Installing the locked Python packages into $venv (a minute or two the first time)"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
"$venv/bin/uv" pip sync --quiet --python "$venv/bin/python" --require-hashes requirements/dev.txt
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --no-deps --no-build-isolation -e . -e testbed
