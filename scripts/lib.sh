# What the scripts beside this file share: messages, programs to find, children to end. Sourced, never run.
# shellcheck shell=bash
set -euo pipefail

root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034 # for the scripts
readonly root

# Where this checkout keeps what isn't in git; absolute, and handed on to the scripts that this one calls.
CUSTOMERD_DATA_DIR=${CUSTOMERD_DATA_DIR:-$root/.data}
case $CUSTOMERD_DATA_DIR in /*) ;; *) CUSTOMERD_DATA_DIR=$PWD/$CUSTOMERD_DATA_DIR ;; esac
export CUSTOMERD_DATA_DIR

# Messages go to standard error, so that what a script prints can be piped.
say() { printf '%s\n' "$*" >&2; }
step() { if [ -t 2 ]; then printf '\033[1m==> %s\033[0m\n' "$*" >&2; else say "==> $*"; fi; }
die() {
    say "${0##*/}: $*"
    exit "${status:-1}"
}

# Ends a check that this machine lacks something for, which is no fault of what is tested.
skip() {
    say "${0##*/}: SKIPPED, $*"
    exit 0
}

# Prints the comment at the top of the calling script, which is its help.
usage() { sed -n '2,/^[^#]/{s/^#$//p;s/^# //p}' "$0"; }

# Puts the Swift toolchain on PATH.
need_swift() {
    local place
    for place in "" /opt/swift/usr/bin "${HOME:-/root}/.local/share/swiftly/bin" /usr/libexec/swift/bin; do
        if PATH=${place:+$place:}$PATH command -v swift >/dev/null; then
            export PATH=${place:+$place:}$PATH
            return
        fi
    done
    die "No Swift toolchain on PATH or in /opt/swift/usr/bin: install Swift 6.2 or later (https://swift.org/install)."
}

# Lets a plain user build where git reads packages from a directory of this machine (url.DIRECTORY.insteadOf), as
# machines without a network do: git refuses repositories of another user, unless told by name.
trust_local_mirrors() {
    local mirrors config=$root/.data/gitconfig
    [ "$(id -u)" -ne 0 ] || return 0
    mirrors=$(git config --get-regexp '^url\./.*\.insteadof$') || return 0
    mirrors=$(sed -E 's/^url\.(.*)\.insteadof .*/\1/' <<<"$mirrors" | sort -u)
    mkdir -p -- "${config%/*}"
    {
        printf '[include]\n\tpath = ~/.config/git/config\n\tpath = ~/.gitconfig\n[safe]\n'
        while read -r mirror; do
            find "$mirror" -maxdepth 3 -name '*.git' -user root -printf '\tdirectory = %p\n'
        done <<<"$mirrors"
    } >"$config"
    export GIT_CONFIG_GLOBAL=$config
}

# Prints the directory that holds the PostgreSQL server's programs; fails when there is none.
#
# Its argument is a major version, or `newest`: CUSTOMERD_PG_BIN if that is set, else the newest that the machine has.
# Debian keeps the programs off PATH, in a directory for each version. Servers that `scripts/bootstrap --postgres`
# installed for the tests are found by their version only.
postgres_bin() {
    local bins bin
    bins=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV)
    [ -z "${CUSTOMERD_PG_BIN:-}" ] || bins=$CUSTOMERD_PG_BIN$'\n'$bins
    bins+=$'\n'$(dirname -- "$(command -v postgres)" 2>/dev/null)
    [ "$1" = newest ] || bins+=$'\n'$(printf '%s\n' "$(postgres_servers)"/*/bin)
    while read -r bin; do
        if [ -x "$bin/postgres" ] && { [ "$1" = newest ] || [ "$(postgres_major "$bin")" = "$1" ]; }; then
            printf '%s\n' "$bin"
            return
        fi
    done <<<"$bins"
    return 1
}

# Prints the directory of the servers that `scripts/bootstrap --postgres` installs, one folder for each major version.
# As root it is a directory that the user postgres can enter.
postgres_servers() {
    if [ "$(id -u)" -eq 0 ]; then
        echo /var/lib/customerd/servers
    else
        echo "${XDG_CACHE_HOME:-$HOME/.cache}/customerd/servers"
    fi
}

postgres_major() { "$1/postgres" --version | sed -E 's/.*\(PostgreSQL\) ([0-9]+).*/\1/'; }

# Whether a port of an address is free (127.0.0.1 unless given).
port_is_free() { ! (exec 8<>"/dev/tcp/${2:-127.0.0.1}/$1") 2>/dev/null; }

# Prints a free port, below the range that the kernel hands to outgoing connections.
free_port() {
    local port
    while port=$((20000 + RANDOM % 12000)) && ! port_is_free "$port"; do :; done
    echo "$port"
}

# Prints a connection string with another user or dbname: where it names two, libpq takes the last.
with_setting() {
    case $1 in
        *://*\?*) echo "$1&$2=$3" ;;
        *://*) echo "$1?$2=$3" ;;
        *) echo "$1 $2=$3" ;;
    esac
}

# The child that `spawn` started and `await` hasn't seen end: the leader of a process group of its own, so that a signal
# reaches the script first, which then ends the child with all that it started.
child=

# What asks the child to end. Not TERM: `swift test` passes only INT on to the tests it runs, in a group of their own.
ending=INT

spawn() {
    set -m
    "$@" </dev/null &
    child=$!
    set +m
}

await() {
    local result=0
    wait "$child" || result=$?
    child=
    return "$result"
}

# Runs a command that takes long. Without this bash would put off a signal until the command is done.
attend() {
    spawn "$@"
    await
}

# Ends the child, if there is one: gently, or with force when a second signal comes.
end_child() {
    [ -n "$child" ] || return 0
    trap 'kill -KILL -- "-$child" 2>/dev/null || true' INT TERM HUP
    kill "-$ending" -- "-$child" 2>/dev/null || true
    while kill -0 "$child" 2>/dev/null; do wait "$child" || true; done
    child=
}

# A signal ends the child and then the script, whose EXIT trap cleans up.
interrupt() {
    end_child
    exit $((128 + $1))
}
trap 'interrupt 1' HUP
trap 'interrupt 2' INT
trap 'interrupt 15' TERM

# Prints the connection string of the owner's database: what the environment names, or the private cluster's, which is
# started for it.
owner_database() {
    local name
    if [ -n "${CUSTOMERD_MIGRATE_DATABASE_URL:-${DATABASE_URL:-}}" ]; then
        echo "${CUSTOMERD_MIGRATE_DATABASE_URL:-$DATABASE_URL}"
        return
    fi
    for name in "${!PG@}"; do
        case $name in
            # An empty string stands for libpq's own variables.
            PGHOST | PGHOSTADDR | PGPORT | PGDATABASE | PGUSER | PGSERVICE) echo "dbname=${PGDATABASE:-${PGUSER:-$(id -un)}}" && return ;;
        esac
    done
    "$root/scripts/db" start >&2
    "$root/scripts/db" url
}

# Prints the path of a program of PostgreSQL's client.
client_program() {
    local bin
    if bin=$(postgres_bin newest) && [ -x "$bin/$1" ]; then
        echo "$bin/$1"
    else
        command -v "$1" || die "There is no $1 on this machine; run scripts/bootstrap."
    fi
}

# Prints the path of customerd: CUSTOMERD_BIN, what was built here, or what is installed.
customerd_program() {
    local path
    for path in "${CUSTOMERD_BIN:-}" "$root/.build/release/customerd" "$root/.build/debug/customerd"; do
        if [ -n "$path" ] && [ -x "$path" ]; then
            echo "$path"
            return
        fi
    done
    command -v customerd || die "There is no customerd yet: swift build -c release --static-swift-stdlib --product customerd"
}
