# Python's tools for the checks of this folder, in an environment of their own. Sourced after lib.sh, never run.
# shellcheck shell=bash

# Installs packages, unless they are there, and sets $tools to where their programs are.
install_tools() {
    command -v python3 >/dev/null || skip "there is no python3"
    local place
    # shellcheck disable=SC2154 # lib.sh's
    place=$root/.data/python/$(printf '%s ' "$(python3 -V)" "$@" | sha256sum | cut -c 1-16)
    # shellcheck disable=SC2034 # for the checks
    tools=$place/bin
    [ ! -e "$place/complete" ] || return 0
    python3 -c 'import ensurepip, venv' 2>/dev/null || skip "python3 comes without venv (apt-get install python3-venv)"
    rm -rf -- "$place"
    step "Installing $*"
    attend python3 -m venv "$place"
    attend "$place/bin/pip" install --quiet --disable-pip-version-check "$@" || {
        rm -rf -- "$place"
        skip "its packages can't be installed (see above)"
    }
    touch "$place/complete"
}

# Sets $axe to the script of axe-core, which finds what in a page is in the way of people who can't see it well, or use it
# without a mouse. PyPI has it within a package whose own dependencies aren't needed.
install_axe() {
    install_tools --no-deps axe-playwright-python==0.1.8
    # shellcheck disable=SC2034 # for the checks
    axe=$(echo "${tools%/bin}"/lib/python3*/site-packages/axe_playwright_python/axe.min.js)
}
