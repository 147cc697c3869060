#!/bin/sh
# Brings a backup of backup.sh back, into a place where nothing is yet. deploy/BACKUP.md tells the rest.
#
#   restore.sh sqlite BACKUP DATA_DIR    into a new data folder, before `slipway serve` is started on it
#   restore.sh postgres BACKUP           into the empty database that PGHOST, PGUSER, PGDATABASE, PGPASSFILE… name
set -eu
umask 077

fail() {
    echo "restore: $1" >&2
    exit 1
}

check() {
    [ -f "$1/SHA256SUMS" ] || fail "$1 is no finished backup"
    (cd "$1" && sha256sum --check --quiet SHA256SUMS) || fail "$1 is damaged"
}

case "${1-}" in
sqlite)
    [ $# -eq 3 ] || fail "write: restore.sh sqlite BACKUP DATA_DIR"
    backup=$2 data=$3
    check "$backup"
    [ ! -e "$data/slipway.db" ] || fail "$data holds a database; name a new folder"
    mkdir -p "$data"
    for name in secret.key bootstrap.token blobs; do
        [ ! -e "$backup/$name" ] || cp -Rp "$backup/$name" "$data/"
    done
    cp "$backup/slipway.db" "$data/slipway.db.new"
    # What was logged after the snapshot belongs to attempts that this database will begin anew.
    if [ -d "$data/blobs/logs" ]; then
        (cd "$data/blobs" && find logs -type f) | "$(dirname "$0")/unknown-logs.sh" sqlite "$data/slipway.db.new" |
            (cd "$data/blobs" && while IFS= read -r name; do rm -f -- "$name"; done)
    fi
    mv "$data/slipway.db.new" "$data/slipway.db"
    ;;
postgres)
    [ $# -eq 2 ] || fail "write: restore.sh postgres BACKUP"
    check "$2"
    # All or nothing; what is there already is an error and stays as it is.
    pg_restore --no-owner --no-privileges --exit-on-error --single-transaction --dbname="${PGDATABASE:?the database}" \
        "$2/slipway.pgdump"
    ;;
*) fail "write: restore.sh sqlite BACKUP DATA_DIR, or restore.sh postgres BACKUP" ;;
esac
echo "restore: done"
