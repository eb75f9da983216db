#!/usr/bin/env bash
# Starts a Garage (2.x) on free ports of 127.0.0.1, with a folder that is removed at the end, for running the tests of the stores on
# it by hand: prints the variables that they read, and keeps it until Ctrl-C. See CONTRIBUTING.md.
#
#   tests/garage.sh PATH_TO_GARAGE
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit

# shellcheck source=tests/services.sh
source tests/services.sh

main() {
    local garage
    garage=$(realpath --canonicalize-existing -- "${1:?usage: tests/garage.sh PATH_TO_GARAGE}") || exit
    GARAGE_DIR=$(mktemp -d /tmp/partita-garage.XXXXXX) || exit
    GARAGE_PID=""
    trap finish EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    start_with_free_ports start_garage "$garage" >&2 || exit
    printf 'export PARTITA_TEST_GARAGE=%q\n' "http://127.0.0.1:$GARAGE_PORT"
    printf 'export PARTITA_TEST_GARAGE_ACCESS_KEY=%q\n' "$GARAGE_ACCESS_KEY"
    printf 'export PARTITA_TEST_GARAGE_SECRET_KEY=%q\n' "$GARAGE_SECRET_KEY"
    printf 'export PARTITA_TEST_GARAGE_BUCKET=%q\n' "$GARAGE_BUCKET"
    echo "Garage runs until Ctrl-C." >&2
    wait "$GARAGE_PID"
    echo "Garage has ended by itself." >&2
    return 1
}

finish() {
    if [[ -n $GARAGE_PID ]]; then
        kill -KILL "$GARAGE_PID"
        wait "$GARAGE_PID"
    fi 2>/dev/null
    rm -rf "$GARAGE_DIR"
}

# Garage refuses keys of any other shape.
readonly GARAGE_ACCESS_KEY=GK0123456789abcdef01234567
readonly GARAGE_SECRET_KEY=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
readonly GARAGE_BUCKET=partita-test

start_garage() { # PATH_TO_GARAGE
    local log=$GARAGE_DIR/garage.log config=$GARAGE_DIR/garage.toml ports rpc
    ports=$(free_ports 2) || return
    read -r GARAGE_PORT rpc <<<"$ports"
    rm -rf "$GARAGE_DIR"/{meta,data}
    cat >"$config" <<CONFIG
metadata_dir = "$GARAGE_DIR/meta"
data_dir = "$GARAGE_DIR/data"
db_engine = "lmdb"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:$rpc"
rpc_public_addr = "127.0.0.1:$rpc"
rpc_secret = "$GARAGE_SECRET_KEY"
[s3_api]
s3_region = "us-east-1"
api_bind_addr = "127.0.0.1:$GARAGE_PORT"
root_domain = ".s3.local"
CONFIG
    chmod 600 "$config"
    setsid setpriv --pdeathsig=KILL -- env --chdir="$GARAGE_DIR" HOME="$GARAGE_DIR" \
        GARAGE_DEFAULT_ACCESS_KEY="$GARAGE_ACCESS_KEY" GARAGE_DEFAULT_SECRET_KEY="$GARAGE_SECRET_KEY" \
        GARAGE_DEFAULT_BUCKET="$GARAGE_BUCKET" \
        "$1" -c "$config" server --single-node --default-bucket >"$log" 2>&1 </dev/null &
    GARAGE_PID=$!
    wait_until_ready "$GARAGE_PID" "$log" stores "$GARAGE_ACCESS_KEY:$GARAGE_SECRET_KEY" \
        "http://127.0.0.1:$GARAGE_PORT/$GARAGE_BUCKET" || { GARAGE_PID=""; return 1; }
}

main "$@"
