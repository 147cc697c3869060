#!/bin/sh
# A backup of a running Slipway, in a new folder. deploy/BACKUP.md tells the rest.
#
#   backup.sh sqlite DATA_DIR TARGET     a `slipway serve` with everything in its data folder
#   backup.sh postgres TARGET            the database that PGHOST, PGUSER, PGDATABASE, PGPASSFILE… name
set -eu
umask 077

fail() {
    echo "backup: $1" >&2
    exit 1
}

new_folder() {
    [ ! -e "$1" ] || fail "$1 is there already; name a new folder"
    # Only what is whole gets the name.
    rm -rf "$1.unfinished"
    mkdir -p "$1.unfinished"
}

finished() {
    (cd "$1.unfinished" && find . -type f ! -name SHA256SUMS -exec sha256sum {} + >SHA256SUMS)
    sync
    mv "$1.unfinished" "$1"
    echo "backup: $1"
}

case "${1-}" in
sqlite)
    [ $# -eq 3 ] || fail "write: backup.sh sqlite DATA_DIR TARGET"
    data=$2 target=$3
    [ -f "$data/slipway.db" ] || fail "there is no $data/slipway.db"
    new_folder "$target"
    # A snapshot as of one moment, taken while the service writes.
    quoted=$(printf %s "$target.unfinished/slipway.db" | sed "s/'/''/g")
    sqlite3 -readonly "$data/slipway.db" ".timeout 60000" "vacuum into '$quoted'" || fail "no snapshot of $data/slipway.db"
    [ "$(sqlite3 "$target.unfinished/slipway.db" 'pragma integrity_check')" = ok ] || fail "the copy is damaged"
    # Logs after the rows that name them: an object is there before its row. One that retention removes meanwhile
    # is missing in its row soon, too.
    if [ -d "$data/blobs" ]; then
        mkdir "$target.unfinished/blobs"
        # A name with a # is an object that is being written.
        (cd "$data/blobs" && find . -type f ! -name '*#*') >"$target.unfinished/names"
        tar --create --file=- --directory "$data/blobs" --ignore-failed-read --files-from="$target.unfinished/names" |
            tar --extract --file=- --directory "$target.unfinished/blobs"
        while IFS= read -r name; do
            [ -f "$target.unfinished/blobs/$name" ] || [ ! -e "$data/blobs/$name" ] || fail "$name was not copied"
        done <"$target.unfinished/names"
        rm "$target.unfinished/names"
    fi
    # With these, the backup is as secret as the service.
    for name in secret.key bootstrap.token; do
        [ ! -f "$data/$name" ] || cp -p "$data/$name" "$target.unfinished/$name"
    done
    finished "$target"
    ;;
postgres)
    [ $# -eq 2 ] || fail "write: backup.sh postgres TARGET"
    target=$2
    new_folder "$target"
    pg_dump --format=custom --no-owner --no-privileges --file="$target.unfinished/slipway.pgdump"
    pg_restore --list "$target.unfinished/slipway.pgdump" >/dev/null
    finished "$target"
    ;;
*) fail "write: backup.sh sqlite DATA_DIR TARGET, or backup.sh postgres TARGET" ;;
esac
