#!/bin/bash
# Gets a real MySQL 9.7, server and clients, into a directory of its own: scripts/get-mysql.sh DIR
#
# Debian 12 has no MySQL, Debian sid has. Its packages and every library that they need are downloaded with the
# machine's own apt (own lists and package state, so the machine's stay as they are), checked by apt against Debian's
# keys, and unpacked below DIR. Nothing is installed in the machine, and no root is needed.
# DIR/bin/{mysqld,mysql,mysqladmin,mysqldump,mysqlbinlog} run those programs with their own loader and libraries,
# in the machine's own file system: paths, sockets, process ids and signals are as with any other program.
#
# SPOQPLUS_DEBIAN_MIRROR overrides the mirror, which is otherwise the one of the machine's apt sources.
set -euo pipefail

die() { echo "get-mysql: $*" >&2; exit 1; }
say() { echo "get-mysql: $*"; }

programs=(mysqld mysql mysqladmin mysqldump mysqlbinlog)
packages=(mysql-server-core mysql-client-core)
wanted=9.7
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

[ $# -eq 1 ] || die "usage: $0 DIR"
mkdir -p "$(dirname "$1")"
target=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")

if "$target/bin/mysqld" --version >/dev/null 2>&1; then
    say "already there: $("$target/bin/mysqld" --version | sed 's/^[^ ]* *//')"
    exit 0
fi
if [ -e "$target" ] && [ ! -e "$target/tree" ] && [ -n "$(ls -A "$target")" ]; then
    die "$target holds something else; name another directory"
fi

for tool in apt-get apt-cache dpkg-deb; do
    command -v "$tool" >/dev/null || die "needs $tool, that is, a Debian or Ubuntu machine"
done
[ -r "$keyring" ] || die "$keyring is missing: apt-get install debian-archive-keyring"
mirror=${SPOQPLUS_DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 'Label: Debian' | sort -u | head -n1)}
[ -n "$mirror" ] ||
    die "the machine's apt sources name no Debian mirror (run apt-get update first, or set SPOQPLUS_DEBIAN_MIRROR)"

part=$target.part
trap 'rm -rf "$part"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
rm -rf "$part" # of a run that was killed
mkdir -p "$part/bin" "$part/tree" "$part/apt/lists/partial" "$part/apt/archives/partial"
: >"$part/apt/status"
echo "deb [signed-by=$keyring] $mirror sid main" >"$part/apt/sources.list"
apt=(
    -o Dir::State="$part/apt" -o Dir::State::status="$part/apt/status" -o Dir::Cache="$part/apt"
    -o Dir::Etc::sourcelist="$part/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null
    -o Acquire::Languages=none -o APT::Install-Recommends=false -o APT::Get::List-Cleanup=false
    -o APT::Sandbox::User="$(id -un)"
)

say "reading the package list of Debian sid"
apt-get "${apt[@]}" -qq update || die "can't read the package list of Debian sid: see apt's words above"
version=$(apt-cache "${apt[@]}" policy mysql-server-core | sed -n 's/^ *Candidate: //p')
case $version in
    "$wanted".*) ;;
    *) die "Debian sid offers MySQL '$version', this project is tested with $wanted" ;;
esac
say "downloading MySQL $version and its libraries (about 70 MB)"
apt-get "${apt[@]}" -qq --download-only -y install "${packages[@]}" >"$part/apt/log" ||
    { cat "$part/apt/log" >&2; die "the download failed: see apt's words above"; }

say "unpacking into $target"
for package in "$part"/apt/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar -x -C "$part/tree" --no-same-owner \
        --exclude=./usr/share/doc --exclude=./usr/share/man --exclude=./usr/share/locale --exclude=./etc
done
rm -rf "$part/apt"

loader=$(cd "$part/tree" && echo usr/lib/*-linux-gnu*/ld-linux-*.so.*)
[ -f "$part/tree/$loader" ] || die "found no dynamic loader in the unpacked libc6: $loader"
for program in "${programs[@]}"; do
    binary=usr/bin/$program
    [ -f "$part/tree/$binary" ] || binary=usr/sbin/$program
    [ -f "$part/tree/$binary" ] || die "the packages ${packages[*]} hold no $program"
    cat >"$part/bin/$program" <<WRAPPER
#!/bin/sh
# Made by scripts/get-mysql.sh: runs this tree's program with this tree's loader and libraries.
self=\$(readlink -f -- "\$0") || exit 127
tree=\${self%/bin/*}/tree
export LIBMYSQL_PLUGIN_DIR="\$tree/usr/lib/mysql/plugin" # not the machine's, which may be MariaDB's
exec "\$tree/$loader" --inhibit-cache --library-path "\$tree/$(dirname "$loader")" "\$tree/$binary" "\$@"
WRAPPER
    chmod 755 "$part/bin/$program"
done

rm -rf "$target"
mv "$part" "$target"
for program in "${programs[@]}"; do
    "$target/bin/$program" --version >/dev/null || die "$target/bin/$program does not run"
done
say "ready: $("$target/bin/mysqld" --version | sed 's/^[^ ]* *//') in $target/bin"
