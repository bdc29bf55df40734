#!/usr/bin/env bash
# Prepares a Debian or Ubuntu machine for one of the make targets: system packages, then .venv from requirements.txt.
# Does only what is missing; a second run takes under a second.
#
#   scripts/setup.sh [base|lint|test|bench]
#
# PYTHON names another interpreter than `python3`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly profile=${1:-base}
readonly python=${PYTHON:-python3}
readonly venv=.venv
PATH=${PATH//"$PWD/$venv/bin:"/} # make puts it first, but an environment can't be made by its own Python

say() { printf '[set-up] %s\n' "$*"; }
fail() {
    printf '[set-up] error: %s\n' "$*" >&2
    exit 1
}

# ---- system packages ------------------------------------------------------------------------------------------------

choose_packages() {
    local server
    wanted=()
    # mysqlclient has no wheel for Linux: it is compiled
    wanted+=(python3 python3-venv python3-dev gcc libmariadb-dev pkg-config ca-certificates git)
    if [ "$profile" = lint ]; then
        wanted+=(shellcheck)
        return
    fi
    # The server's programs alone: mariadb-server would start a service on port 3306 and enable it for every boot.
    # Ubuntu 22.04 has the version in the package's name.
    server=$(first_known mariadb-server-core mariadb-server-core-10.6)
    wanted+=("${server:-mariadb-server-core}" mariadb-client age openssl zstd gzip tar rsync gnupg procps util-linux)
    local peers=(mydumper pigz restic) # what the benchmark compares with; its own test runs it too
    case $profile in
    test)
        wanted+=("${peers[@]}" acl attr) # setfacl and getfattr: what an archive of files has to bring back
        wanted+=(debian-archive-keyring)                 # scripts/get-mysql.sh checks what it downloads by it
        ;;
    bench) wanted+=("${peers[@]}") ;;
    esac
    case $profile in test | bench) # pages are looked at in Chromium, Korean included
        wanted+=(fonts-noto-cjk)
        if [ -n "$(first_known chromium)" ]; then wanted+=(chromium); fi
        ;;
    esac
}

first_known() { # the first of these packages that is installed, else that this release has
    local name
    for name in "$@"; do
        if [ -z "$(missing_of "$name")" ]; then echo "$name" && return; fi
    done
    for name in "$@"; do
        if apt-cache policy "$name" 2>/dev/null | grep '^  Candidate: [^(]' >/dev/null; then echo "$name" && return; fi
    done
}

missing_of() {
    local present name
    present=$(dpkg-query --show --showformat='${db:Status-Status} ${Package}\n' "$@" 2>/dev/null || true)
    for name in "$@"; do
        grep -qx "installed $name" <<<"$present" || echo "$name"
    done
}

install_packages() {
    local missing
    command -v dpkg-query >/dev/null || fail "this set-up knows Debian and Ubuntu only (no dpkg on this machine)." \
        "Use a Debian 12 container or machine."
    choose_packages
    if [ -z "$(missing_of "${wanted[@]}")" ]; then return 0; fi
    say "system packages are missing: refreshing apt's package lists"
    # one broken third-party source must not end it: what can't be had shows when it is installed
    apt_get update || say "warning: apt-get update reported errors (above)"
    choose_packages # again: a fresh container knew no packages until now
    mapfile -t missing < <(missing_of "${wanted[@]}")
    say "installing system packages with apt: ${missing[*]}"
    # a MySQL that is installed here must not be removed to make room for MariaDB
    apt_get install --yes --no-install-recommends --no-remove "${missing[@]}" || fail \
        "apt could not install them (above). Install them yourself, then run this again: ${missing[*]}"
}

apt_get() {
    # the lock: a fresh cloud machine updates itself, wait for it rather than fail
    as_root env DEBIAN_FRONTEND=noninteractive apt-get --quiet=2 -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 "$@"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "system packages are missing, you are not root and there is no sudo." \
            "Ask an administrator to run: apt-get install --no-install-recommends ${wanted[*]}"
    fi
}

# ---- Python ---------------------------------------------------------------------------------------------------------

check_python() {
    command -v "$python" >/dev/null || fail "there is no $python. Run again with PYTHON=/path/to/python3.x"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || fail \
        "$("$python" --version 2>&1) is too old: Airflow 3.3 needs Python 3.10 or newer." \
        "Install one and run again with PYTHON=/path/to/python3.x"
}

make_venv() {
    local recipe
    recipe=$({ pwd && "$python" --version && cat requirements.txt pyproject.toml scripts/setup.sh; } | sha256sum)
    if [ "$(cat $venv/.made-from 2>/dev/null)" = "$recipe" ] && $venv/bin/python -c ''; then return 0; fi
    rm -f $venv/.made-from
    if ! usable_venv; then
        say "making the virtual environment $venv with $("$python" --version)"
        "$python" -c 'import ensurepip, venv' 2>/dev/null || fail \
            "$(command -v "$python") lacks the modules venv and ensurepip. Run again with PYTHON=/usr/bin/python3"
        "$python" -m venv --clear $venv
    fi
    say "installing the pinned Python packages of requirements.txt (some minutes the first time)"
    # every file is held against the hashes of the lock
    $venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
        --requirement <(sed -n '/^uv==/,/^    # via/p' requirements.txt)
    $venv/bin/uv pip sync --quiet --require-hashes --python $venv/bin/python requirements.txt
    # --no-build-isolation: building it needs nothing but the pinned setuptools
    $venv/bin/uv pip install --quiet --python $venv/bin/python --no-deps --no-build-isolation --editable .
    echo "$recipe" >$venv/.made-from
}

usable_venv() { # works, is of the same Python, and was made in this very folder: its scripts hold their path
    [ "$($venv/bin/python -c 'import sys; print(sys.version, sys.prefix)' 2>/dev/null)" = \
        "$("$python" -c 'import sys; print(sys.version, sys.argv[1])' "$PWD/$venv")" ] &&
        grep -qF "$PWD/$venv/bin/python" $venv/bin/pip
}

# ---- the rest of what the tests need --------------------------------------------------------------------------------

install_browser() { # Ubuntu has Chromium as a snap only
    if [ -e /usr/bin/chromium ] || [ -e $venv/.has-browser ]; then return 0; fi
    say "installing Playwright's Chromium (this release has no package of it)"
    as_root "$PWD/$venv/bin/playwright" install-deps chromium
    $venv/bin/playwright install chromium
    touch $venv/.has-browser
}

get_promtool() { # and amtool: their packages would make users and start services, so they are unpacked, not installed
    local folder=$PWD/build/prometheus packages=(prometheus prometheus-alertmanager) there package
    if [ -x "$folder/promtool" ] && [ -x "$folder/amtool" ]; then return 0; fi
    say "unpacking promtool and amtool from Debian's packages"
    there=$(mktemp -d)
    # apt checks what it downloads as when it installs, and needs no root for it; a fresh container has no lists yet
    if ! (cd "$there" && apt-get --quiet=2 -o APT::Sandbox::User=root download "${packages[@]}" 2>/dev/null); then
        apt_get update || say "warning: apt-get update reported errors (above)"
        (cd "$there" && apt-get --quiet=2 -o APT::Sandbox::User=root download "${packages[@]}") || fail \
            "apt could not download ${packages[*]} (above). Put promtool and amtool into $folder, then run this again."
    fi
    for package in "$there"/*.deb; do dpkg-deb --extract "$package" "$there/unpacked"; done
    mkdir -p "$folder"
    install "$there"/unpacked/usr/bin/{promtool,amtool} "$folder"
    rm -r "$there"
}

case $profile in
base | lint | test | bench) ;;
*) fail "unknown profile '$profile': base, lint, test or bench" ;;
esac
exec 9<scripts/setup.sh
flock 9 # `make lint` beside `make test` waits here
install_packages
check_python
make_venv
if [ "$profile" = test ]; then
    scripts/get-mysql.sh build/mysql-9.7
    get_promtool
fi
case $profile in test | bench) install_browser ;; esac
