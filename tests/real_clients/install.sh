#!/usr/bin/env bash
# Makes the clients that `tests/real_*.rs` use, below target/: kazoo and confluent-kafka in a Python
# environment. kcat is installed where apt-get may do so. What cannot be had is said and left out:
# the tests that need it say so too.
set -uo pipefail
cd "$(dirname "$0")/../.."
requirements=$PWD/tests/real_clients/requirements.txt
environment=$PWD/target/real_clients

missing() {
    echo "real clients: no $1: $2" >&2
}

if [ ! -f "$environment/installed" ] || ! cmp -s "$requirements" "$environment/installed"; then
    if ! command -v python3 >/dev/null; then
        missing 'kazoo, confluent-kafka' 'there is no python3'
    elif ! python3 -m venv "$environment"; then
        missing 'kazoo, confluent-kafka' 'python3 -m venv failed (Debian: apt-get install python3-venv)'
    elif ! "$environment/bin/pip" install --quiet --disable-pip-version-check -r "$requirements"; then
        missing 'kazoo, confluent-kafka' 'pip install failed'
    else
        cp "$requirements" "$environment/installed"
    fi
fi
if ! command -v kcat >/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get install -y -qq kcat >/dev/null || missing kcat 'apt-get install kcat failed'
    else
        missing kcat 'install it with your package manager'
    fi
fi
