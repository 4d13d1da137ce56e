# A service with a database of its own for the checks of this folder. Sourced, never run.
#
# Needs CUSTOMERD_TEST_PG, the URL of a superuser and the database postgres, and a built customerd (CUSTOMERD_BIN).
# shellcheck shell=bash
source "$(dirname -- "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
cd -- "$root"

case ${1:-} in --help | -h) usage && exit ;; esac
[ -n "${CUSTOMERD_TEST_PG:-}" ] || status=2 die "CUSTOMERD_TEST_PG isn't set (see --help)"

customerd=${CUSTOMERD_BIN:-$root/.build/debug/customerd}
[ -x "$customerd" ] || die "There is no $customerd; run swift build."

ending=TERM # for the children that take longest, the service among them
database=customerd_${0##*/}_$$
database=${database//[^a-z0-9]/_}
temporary=$(mktemp -d)
service=
beside=() # processes of other programs, which end after the service
port=
owner_url=

clean_up() {
    end_child
    trap '' INT TERM HUP
    child=$service
    end_child
    trap '' INT TERM HUP
    PGOPTIONS=--client-min-messages=warning psql -Xq -d "$CUSTOMERD_TEST_PG" \
        -c "DROP DATABASE IF EXISTS $database WITH (FORCE)" || true
    rm -rf -- "$temporary"
    [ ${#beside[@]} -eq 0 ] || kill "${beside[@]}" 2>/dev/null || true
}
trap clean_up EXIT

# Starts a program that runs beside the service until the end.
run_beside() {
    spawn "$@"
    beside+=("$child")
    child=
}

# Waits until the program that was last started beside is there, which a command tells.
await_beside() {
    local end=$((SECONDS + 60))
    until "$@" 2>/dev/null; do
        kill -0 "${beside[-1]}" 2>/dev/null || die "what was to run beside has ended (see above)"
        [ "$SECONDS" -lt "$end" ] || die "what was to run beside isn't there after a minute"
        sleep 0.1
    done
}

# Whether a port is in use.
is_served() { ! port_is_free "$1"; }

# Makes the database, which other commands then find in DATABASE_URL.
make_database() {
    psql -Xq -d "$CUSTOMERD_TEST_PG" -c "CREATE DATABASE $database"
    owner_url=$(with_setting "$CUSTOMERD_TEST_PG" dbname "$database")
    export DATABASE_URL=$owner_url
    "$customerd" migrate >&2
}

serve() {
    DATABASE_URL=$(with_setting "$owner_url" user customerd_service) CUSTOMERD_PORT=$port LOG_LEVEL=warning \
        exec env "$@" "$customerd" serve >"$temporary/log" 2>&1
}

# Starts the service on $port, with settings of the form NAME=value, which go before what `serve` sets.
launch() {
    spawn serve "$@"
    service=$child
    child=
}

# Starts the service on a port that is free, and waits until it is ready.
start_service() {
    port=$(free_port)
    launch "$@"
    until curl -fs --max-time 2 -o "$temporary/ready" "http://127.0.0.1:$port/health/ready"; do
        kill -0 "$service" 2>/dev/null || die "the service doesn't start: $(tail -n 5 "$temporary/log")"
        sleep 0.1
    done
}

# Runs a program in Python that stands on setting.py.
run_python() {
    SERVICE_URL=http://127.0.0.1:$port SERVICE_CUSTOMERD=$customerd SERVICE_PSQL_URL=$owner_url \
        PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$root/Tests/System attend python3 "$@" >&2
}
