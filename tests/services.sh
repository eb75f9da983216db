# shellcheck shell=bash
# The services that the tests need: a real PostgreSQL and two real S3 servers (SeaweedFS, ministack), each on free ports of
# 127.0.0.1, with its data in a folder that is removed at the end. Sourced by ./test, which sets CACHE_DIR and PYTHON_ENV.

SERVICES_DIR=""
POSTGRES_PID=""
SEAWEEDFS_PID=""
SEAWEEDFS_PORTS=()
MINISTACK_PID=""

readonly SEAWEEDFS_ACCESS_KEY=partita-test
readonly SEAWEEDFS_SECRET_KEY=partita-test-secret-0123456789
readonly SEAWEEDFS_BUCKET=partita-test
readonly MINISTACK_ACCESS_KEY=partita-test
readonly MINISTACK_SECRET_KEY=partita-test-secret-9876543210
readonly MINISTACK_BUCKET=partita-test
readonly READY_WITHIN_SECONDS=60

# Starts them and exports where they are. Call it from the main shell, not from a subshell: the services die with their parent
# (--pdeathsig), also when that is killed and runs no trap. In a session of their own (setsid) a Ctrl-C does not reach them, only us.
start_services() {
    # Under /tmp whatever TMPDIR says: the user postgres must be able to enter it, and a socket's path is limited to 107 bytes.
    SERVICES_DIR=$(mktemp -d /tmp/partita-services.XXXXXX) || return
    chmod 711 "$SERVICES_DIR"
    start_with_free_ports start_postgres || return
    start_with_free_ports start_seaweedfs || return
    start_with_free_ports start_ministack || return
}

stop_services() {
    # SIGKILL is what the S3 servers are stopped by, for SeaweedFS's own way takes 4 s; nobody wants this data any more.
    local pid
    for pid in $SEAWEEDFS_PID $MINISTACK_PID $POSTGRES_PID; do
        # SIGQUIT: at once, taking PostgreSQL's children along, which SIGKILL would leave behind.
        if [[ $pid == "$POSTGRES_PID" ]]; then kill -QUIT "$pid"; else kill -KILL "$pid"; fi 2>/dev/null
        wait "$pid" 2>/dev/null
    done
    SEAWEEDFS_PID="" MINISTACK_PID="" POSTGRES_PID=""
    # SeaweedFS leaves a socket outside its folder for each port of its own.
    local port
    for port in "${SEAWEEDFS_PORTS[@]}"; do
        rm -f /tmp/seaweedfs-*-grpc-"$((port + 10000))".sock
    done
    SEAWEEDFS_PORTS=()
    [[ -z $SERVICES_DIR ]] || rm -rf "$SERVICES_DIR"
    SERVICES_DIR=""
}

# Keeps the services' logs where one looks after a failure.
save_service_logs() { # FOLDER
    [[ -n $SERVICES_DIR ]] || return 0
    mkdir -p "$1"
    cp "$SERVICES_DIR"/*.log "$1"/ 2>/dev/null || true
}

print_service_exports() {
    local name
    for name in PARTITA_TEST_POSTGRES PARTITA_TEST_SEAWEEDFS PARTITA_TEST_SEAWEEDFS_ACCESS_KEY \
        PARTITA_TEST_SEAWEEDFS_SECRET_KEY PARTITA_TEST_SEAWEEDFS_BUCKET PARTITA_TEST_MINISTACK \
        PARTITA_TEST_MINISTACK_ACCESS_KEY PARTITA_TEST_MINISTACK_SECRET_KEY PARTITA_TEST_MINISTACK_BUCKET; do
        printf 'export %s=%q\n' "$name" "${!name}"
    done
}

# A port that was free may be taken a moment later, by another run of the tests say; then the server ends at once and is
# started again on others.
start_with_free_ports() { # FUNCTION ARGUMENT...
    local attempt
    for attempt in 1 2 3; do
        "$@" && return
        echo "$1: attempt $attempt failed" >&2
    done
    return 1
}

start_postgres() {
    local bin data=$SERVICES_DIR/postgres log=$SERVICES_DIR/postgres.log port
    bin=$(postgres_bin) || { echo "no PostgreSQL in /usr/lib/postgresql" >&2; return 1; }
    port=$(free_ports 1) || return
    # PostgreSQL refuses to run as root.
    local as_postgres=()
    if [[ $EUID -eq 0 ]]; then
        as_postgres=(--reuid=postgres --regid=postgres --init-groups)
    fi
    rm -rf "$data"
    install -d -m 700 ${as_postgres:+-o postgres -g postgres} "$data" || return
    setpriv "${as_postgres[@]}" -- env --chdir=/ "$bin/initdb" --pgdata="$data" --username=postgres --auth=trust \
        --encoding=UTF8 --locale=C.UTF-8 --no-sync >"$log" 2>&1 || { cat "$log" >&2; return 1; }
    # fsync stays on: what the tests learn about durability and speed must be true. No socket file: TCP is enough.
    setsid setpriv "${as_postgres[@]}" --pdeathsig=QUIT -- env --chdir=/ "$bin/postgres" -D "$data" -p "$port" \
        -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=300 >>"$log" 2>&1 </dev/null &
    POSTGRES_PID=$!
    wait_until_ready "$POSTGRES_PID" "$log" "$bin/pg_isready" -q -h 127.0.0.1 -p "$port" || { POSTGRES_PID=""; return 1; }
    export PARTITA_TEST_POSTGRES=postgres://postgres@127.0.0.1:$port/postgres
}

start_seaweedfs() {
    local data=$SERVICES_DIR/seaweedfs log=$SERVICES_DIR/seaweedfs.log s3 ports
    ports=$(free_ports 5) || return
    read -ra SEAWEEDFS_PORTS <<<"$ports"
    s3=${SEAWEEDFS_PORTS[0]}
    rm -rf "$data"
    mkdir "$data" || return
    local options=(
        -dir="$data" -bucket="$SEAWEEDFS_BUCKET" -ip=127.0.0.1 -ip.bind=127.0.0.1
        -s3.port="$s3" -master.port="${SEAWEEDFS_PORTS[1]}" -volume.port="${SEAWEEDFS_PORTS[2]}"
        -filer.port="${SEAWEEDFS_PORTS[3]}" -admin.port="${SEAWEEDFS_PORTS[4]}"
        -filer.localSocket="$data/filer.sock" -s3.localSocket="$data/s3.sock"
        # Telemetry is on by default.
        -master.telemetry=false -admin.ui=false -webdav=false -s3.port.iceberg=0 -s3.port.lance=0
        # Every written bucket takes a volume, and by default there are as many volumes as free GiB.
        -master.volumeSizeLimitMB=64 -volume.max=2000
        # By default a bucket without a CORS rule admits every origin, unlike S3; a forgotten rule has to show.
        -s3.allowedOrigins=http://none.invalid
    )
    # HOME, TMPDIR and the working directory are its own: it reads settings and leaves logs there. Without GOMEMLIMIT it grows to 3 GB.
    setsid setpriv --pdeathsig=KILL -- env --chdir="$data" HOME="$data" TMPDIR="$data" GOMEMLIMIT=768MiB \
        AWS_ACCESS_KEY_ID="$SEAWEEDFS_ACCESS_KEY" AWS_SECRET_ACCESS_KEY="$SEAWEEDFS_SECRET_KEY" \
        "$PYTHON_ENV/bin/weed" mini "${options[@]}" >"$log" 2>&1 </dev/null &
    SEAWEEDFS_PID=$!
    wait_until_ready "$SEAWEEDFS_PID" "$log" seaweedfs_stores "http://127.0.0.1:$s3" || { SEAWEEDFS_PID=""; return 1; }
    export PARTITA_TEST_SEAWEEDFS=http://127.0.0.1:$s3
    export PARTITA_TEST_SEAWEEDFS_ACCESS_KEY=$SEAWEEDFS_ACCESS_KEY
    export PARTITA_TEST_SEAWEEDFS_SECRET_KEY=$SEAWEEDFS_SECRET_KEY
    export PARTITA_TEST_SEAWEEDFS_BUCKET=$SEAWEEDFS_BUCKET
}

# The port answers before the volumes do, so readiness is an object written and read.
seaweedfs_stores() { # ENDPOINT
    stores "$SEAWEEDFS_ACCESS_KEY:$SEAWEEDFS_SECRET_KEY" "$1/$SEAWEEDFS_BUCKET"
}

start_ministack() {
    local data=$SERVICES_DIR/ministack log=$SERVICES_DIR/ministack.log port
    port=$(free_ports 1) || return
    rm -rf "$data"
    mkdir "$data" || return
    # Without BIND_HOST it listens for everybody, without AUTH=true it checks no signature; in memory alone it would keep every part
    # of every test. HOME, TMPDIR and the working directory are its own: it leaves files there.
    setsid setpriv --pdeathsig=KILL -- env --chdir="$data" HOME="$data" TMPDIR="$data" \
        BIND_HOST=127.0.0.1 GATEWAY_PORT="$port" SERVICES=s3 AUTH=true S3_PERSIST=1 S3_DATA_DIR="$data/s3" \
        AWS_ACCESS_KEY_ID="$MINISTACK_ACCESS_KEY" AWS_SECRET_ACCESS_KEY="$MINISTACK_SECRET_KEY" \
        "$PYTHON_ENV/bin/ministack" >"$log" 2>&1 </dev/null &
    MINISTACK_PID=$!
    wait_until_ready "$MINISTACK_PID" "$log" ministack_stores "http://127.0.0.1:$port" || { MINISTACK_PID=""; return 1; }
    export PARTITA_TEST_MINISTACK=http://127.0.0.1:$port
    export PARTITA_TEST_MINISTACK_ACCESS_KEY=$MINISTACK_ACCESS_KEY
    export PARTITA_TEST_MINISTACK_SECRET_KEY=$MINISTACK_SECRET_KEY
    export PARTITA_TEST_MINISTACK_BUCKET=$MINISTACK_BUCKET
}

# Makes the bucket; making it again changes nothing.
ministack_stores() { # ENDPOINT
    local keys=$MINISTACK_ACCESS_KEY:$MINISTACK_SECRET_KEY
    signed_curl "$keys" --request PUT "$1/$MINISTACK_BUCKET" && stores "$keys" "$1/$MINISTACK_BUCKET"
}

# Writes an object into a bucket, reads it and deletes it.
stores() { # KEYS BUCKET_URL
    signed_curl "$1" --request PUT --data-binary ready "$2/ready" && signed_curl "$1" "$2/ready" &&
        signed_curl "$1" --request DELETE "$2/ready"
}

signed_curl() { # KEYS ARGUMENT...
    curl --silent --fail --output /dev/null --max-time 5 --noproxy '*' --aws-sigv4 aws:amz:us-east-1:s3 \
        --user "$1" --header 'x-amz-content-sha256: UNSIGNED-PAYLOAD' "${@:2}"
}

# Waits until the command succeeds. A process that has ended is a failure at once, even if another answers on its port.
wait_until_ready() { # PID LOG COMMAND...
    local pid=$1 log=$2 deadline=$((SECONDS + READY_WITHIN_SECONDS))
    shift 2
    while kill -0 "$pid" 2>/dev/null && ((SECONDS < deadline)); do
        if "$@" && kill -0 "$pid" 2>/dev/null; then
            return 0
        fi
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    echo "not ready; the end of $log:" >&2
    tail -n 20 "$log" >&2
    return 1
}

postgres_bin() {
    local newest
    newest=$(find /usr/lib/postgresql/*/bin -name initdb 2>/dev/null | sort -V | tail -n 1)
    [[ -n $newest ]] && dirname "$newest"
}

# Free ports such that port + 10000, which SeaweedFS takes as well, is free too and below 32768, where the ports of outgoing
# connections begin.
free_ports() { # COUNT
    python3 - "$1" <<'PYTHON'
import random, socket, sys

def is_free(port):
    with socket.socket() as probe:
        # As servers do: a port whose last connections are still fading away is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True

candidates = random.sample(range(12_000, 22_768), 500)
free = (port for port in candidates if is_free(port) and is_free(port + 10_000))
print(*(next(free) for _ in range(int(sys.argv[1]))))
PYTHON
}
