# A Debian in a directory, for the scripts that need a clean one. Sourced after lib.sh, never run.
# shellcheck shell=bash

# Prints the URL from which this machine's apt gets a suite.
package_source() {
    # shellcheck disable=SC2016 # apt's variables
    apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
        awk -v suite="$1" '$1 == suite && $2 == "main" { print $3; exit }'
}

# Makes a minimal Debian, which then gets packages from where this machine does: `make_root SUITE DIRECTORY`.
make_root() {
    local suite=$1 place=$2 mirror security
    mirror=$(package_source "$suite")
    security=$(package_source "$suite-security")
    mirror=${mirror:-http://deb.debian.org/debian}
    attend debootstrap --variant=minbase "$suite" "$place" "$mirror" >&2
    printf 'deb %s %s main\n' \
        "$mirror" "$suite" "$mirror" "$suite-updates" \
        "${security:-http://deb.debian.org/debian-security}" "$suite-security" >"$place/etc/apt/sources.list"
    apt-config dump | grep -E '^Acquire::https?::Proxy' >"$place/etc/apt/apt.conf.d/90proxy" || true
}
