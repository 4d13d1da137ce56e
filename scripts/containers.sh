# Shared by the scripts that use containers: the engine, and base images made on this machine. Sourced, never run.
# shellcheck shell=bash
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck disable=SC2154 # lib.sh's
source "$root/scripts/debian.sh"

# The engine: Docker if its daemon answers, otherwise podman.
engine=

# Names of the base images, as build arguments for Dockerfile and Dockerfile.test; empty for the defaults in those files.
# shellcheck disable=SC2034 # for the scripts
bases=()

find_engine() {
    if docker info >/dev/null 2>&1; then
        engine=docker
        return
    fi
    "$root/scripts/bootstrap" --container
    engine=podman
    # The OCI format has no health checks; without this, the image loses its own.
    export BUILDAH_FORMAT=docker
    set_podman_up
}

# Configures podman for what this machine doesn't allow, so that it doesn't fail.
set_podman_up() {
    local file=$root/.data/containers.conf effective limit
    mkdir -p -- "${file%/*}"
    {
        echo '[engine]'
        if [ ! -d /run/systemd/system ]; then
            echo 'cgroup_manager = "cgroupfs"'
            export DISABLE_HC_SYSTEMD=true # without systemd there are no timers: health checks run on demand
        fi
        # crun refuses a hybrid of both versions of control groups.
        [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ] || echo 'runtime = "runc"'
        # By default containers get higher limits than this process, which needs CAP_SYS_RESOURCE (bit 24).
        effective=$(awk '/^CapEff:/ { print $2 }' /proc/self/status)
        if [ "$(id -u)" -eq 0 ] && ! ((0x$effective >> 24 & 1)); then
            limit=$(ulimit -Hu)
            if [ "$limit" = unlimited ] || [ "$limit" -gt "$(cat /proc/sys/kernel/pid_max)" ]; then
                limit=$(cat /proc/sys/kernel/pid_max) # podman's own maximum
            fi
            echo '[containers]'
            echo "default_ulimits = [\"nofile=$(ulimit -Hn):$(ulimit -Hn)\", \"nproc=$limit:$limit\"]"
        fi
    } >"$file"
    export CONTAINERS_CONF=$file
}

# Builds an image: `build TAG FILE CONTEXT [ARGUMENTS]`.
build() {
    local tag=$1 file=$2 context=$3
    shift 3
    attend "$engine" build --tag "$tag" --file "$file" "$@" "$context" >&2
}

has_image() { "$engine" image inspect "$1" >/dev/null 2>&1; }

# --- PostgreSQL in a container ----------------------------------------------------------------------------------------

# What this run started and `remove_containers` removes.
containers=()
volumes=()
remove_containers() {
    local place
    end_child
    trap '' INT TERM HUP
    # In reverse order: podman doesn't remove a container whose network another one shares.
    for ((place = ${#containers[@]} - 1; place >= 0; place--)); do
        "$engine" rm --force --volumes "${containers[place]}" >/dev/null || true
    done
    [ ${#volumes[@]} -eq 0 ] || "$engine" volume rm --force "${volumes[@]}" >/dev/null || true
}

# Starts PostgreSQL and waits until it serves: `start_postgres NAME IMAGE [ARGUMENTS OF run]... -- [ARGUMENTS OF postgres]`.
start_postgres() {
    local name=$1 image=$2 options=() _
    shift 2
    while [ "$1" != -- ]; do options+=("$1") && shift; done
    shift
    containers+=("$name")
    "$engine" run --detach --name "$name" --env POSTGRES_PASSWORD=postgres "${options[@]}" "$image" postgres "$@" >/dev/null
    # By TCP: during its setup it listens only on its socket.
    for _ in {1..120}; do
        ! "$engine" exec "$name" pg_isready --quiet --host=127.0.0.1 --username=postgres 2>/dev/null || return 0
        [ "$("$engine" inspect --format '{{.State.Running}}' "$name")" = true ] || break
        sleep 0.5
    done
    "$engine" logs "$name" >&2
    die "PostgreSQL doesn't start in the container $name"
}

# --- bases without a registry -----------------------------------------------------------------------------------------

readonly suite=bookworm
readonly base=localhost/customerd-base/debian:$suite
readonly swift_base=localhost/customerd-base/swift:$suite
readonly postgres_base=localhost/customerd-base/postgres:15-$suite

# Makes the missing bases with debootstrap: a slim Debian; on it the Swift toolchain of this machine, with the packages
# that SwiftPM reads from local directories; and PostgreSQL.
make_bases() {
    [ "$engine" = podman ] || die "--debootstrap needs podman; the engine of this machine is $engine"
    [ "$(id -u)" -eq 0 ] || die "debootstrap needs root"
    has_image "$base" || make_debian
    has_image "$swift_base" || make_swift
    has_image "$postgres_base" || make_postgres
    # shellcheck disable=SC2034 # for the scripts
    bases=(
        --build-arg "BASE_IMAGE=$base"
        --build-arg "BUILD_IMAGE=$swift_base"
        --build-arg "POSTGRES_IMAGE=$postgres_base"
    )
}

# Like docker.io/library/debian:bookworm-slim: no documentation, no translations.
make_debian() {
    local place
    step "Making $base with debootstrap"
    place=$(mktemp -d)
    make_root "$suite" "$place"
    printf 'path-exclude %s\n' '/usr/share/doc/*' '/usr/share/man/*' '/usr/share/info/*' '/usr/share/locale/*' \
        >"$place/etc/dpkg/dpkg.cfg.d/slim"
    # And no apt caches, which `apt-get update` would leave in every image.
    cat >"$place/etc/apt/apt.conf.d/docker-clean" <<'APT'
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
APT
    find "$place"/usr/share/{doc,man,info,locale} "$place"/var/{cache/apt,lib/apt/lists,log} -mindepth 1 -delete
    attend import "$place" "$base"
    rm -rf -- "$place"
}

import() { tar -C "$1" --one-file-system --numeric-owner -c . | "$engine" import - "$2" >&2; }

# Like docker.io/library/swift:…-bookworm, with the same packages, and with this machine's settings by which SwiftPM and
# pip reach packages. None of those get into the image of the service.
make_swift() {
    local toolchain context line prefix contexts=() copies=()
    need_swift
    toolchain=$(readlink -f -- "$(command -v swift)")
    toolchain=${toolchain%/usr/bin/*}
    step "Making $swift_base with the toolchain in $toolchain"
    context=$(mktemp -d)
    mkdir -p "$context/usr/local/share/ca-certificates" "$context/etc"
    find /usr/local/share/ca-certificates -name '*.crt' -exec cp -t "$context/usr/local/share/ca-certificates" -- {} +
    [ ! -f /etc/pip.conf ] || cp /etc/pip.conf "$context/etc"
    # url./directory/.insteadof prefix
    while read -r line prefix; do
        line=${line#url.}
        line=${line%.insteadof}
        git config --file "$context/etc/gitconfig" --add "url.$line.insteadOf" "$prefix"
        case " ${copies[*]} " in *" $line "*) continue ;; esac
        contexts+=(--build-context "mirror${#copies[@]}=$line")
        copies+=("COPY --from=mirror${#copies[@]} / $line")
    done < <(git config --get-regexp '^url\./.*\.insteadof$')
    cat >"$context/Dockerfile" <<DOCKERFILE
FROM $base
RUN apt-get update \\
    && apt-get install --yes --no-install-recommends \\
        binutils git libc6-dev libcurl4-openssl-dev libedit2 libgcc-12-dev libncurses6 libpython3-dev libsqlite3-0 \\
        libstdc++-12-dev libxml2-dev libz3-dev pkg-config python3 tzdata unzip zlib1g-dev \\
    && rm -rf /var/lib/apt/lists/*
COPY --from=toolchain / /opt/swift/
$(printf '%s\n' "${copies[@]}")
COPY usr /usr
COPY etc /etc
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
ENV PATH=/opt/swift/usr/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
DOCKERFILE
    build "$swift_base" "$context/Dockerfile" "$context" --layers=false --build-context "toolchain=$toolchain" "${contexts[@]}"
    rm -rf -- "$context"
}

# Instead of docker.io/library/postgres: Debian's PostgreSQL, with the parts of that image's entrypoint that are used here.
make_postgres() {
    local context
    step "Making $postgres_base"
    context=$(mktemp -d)
    cat >"$context/entrypoint" <<'ENTRYPOINT'
#!/bin/bash
set -euo pipefail
export PATH=/usr/lib/postgresql/15/bin:$PATH
install -d -m 700 -o postgres -g postgres "$PGDATA"
install -d -m 2775 -o postgres -g postgres /var/run/postgresql
as_postgres() { setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"; }
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    export POSTGRES_USER=${POSTGRES_USER:-postgres} PGUSER=${POSTGRES_USER:-postgres}
    export POSTGRES_DB=${POSTGRES_DB:-$POSTGRES_USER}
    as_postgres initdb --username="$POSTGRES_USER" --auth-local=trust --auth-host=scram-sha-256
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    # Only on its socket, so that clients don't see it before it is complete.
    as_postgres pg_ctl -D "$PGDATA" -w start -o "-c listen_addresses=''"
    as_postgres psql -Xq --set "password=$POSTGRES_PASSWORD" postgres <<<"ALTER ROLE CURRENT_USER PASSWORD :'password'"
    [ "$POSTGRES_DB" = postgres ] || as_postgres createdb "$POSTGRES_DB"
    for script in /docker-entrypoint-initdb.d/*.sh; do
        [ ! -f "$script" ] || as_postgres bash "$script"
    done
    as_postgres pg_ctl -D "$PGDATA" -w stop
fi
exec setpriv --reuid=postgres --regid=postgres --init-groups -- "$@" -c "listen_addresses=*"
ENTRYPOINT
    chmod 755 "$context/entrypoint"
    cat >"$context/Dockerfile" <<DOCKERFILE
FROM $base
RUN apt-get update \\
    && apt-get install --yes --no-install-recommends postgresql-common \\
    && sed -i 's/^#*create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf \\
    && apt-get install --yes --no-install-recommends postgresql-15 \\
    && rm -rf /var/lib/apt/lists/*
COPY entrypoint /usr/local/bin/docker-entrypoint.sh
ENV PGDATA=/var/lib/postgresql/data LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/15/bin
VOLUME /var/lib/postgresql/data
STOPSIGNAL SIGINT
EXPOSE 5432
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["postgres"]
DOCKERFILE
    build "$postgres_base" "$context/Dockerfile" "$context" --layers=false
    rm -rf -- "$context"
}
