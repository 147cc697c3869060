#!/bin/sh
# Of the names of log objects on standard input (…logs/SHARD/JOB/EPOCH/OFFSET.zst), prints those of attempts that the
# database does not know. After a restore they may be removed: they are of a time that did not happen for this database,
# and nobody reads them.
#
#   unknown-logs.sh sqlite FILE          a SQLite database
#   unknown-logs.sh postgres             the database that PGHOST, PGUSER, PGDATABASE, PGPASSFILE… name
set -eu

case "${1-}" in
sqlite) rows=$(sqlite3 -readonly -separator / "${2:?the database file}" 'select lower(hex(job_id)), epoch from attempt_logs') ;;
postgres)
    rows=$(psql --no-psqlrc --quiet --tuples-only --no-align --field-separator=/ \
        --command='select job_id, epoch from attempt_logs')
    ;;
*)
    echo "unknown-logs: write: unknown-logs.sh sqlite FILE, or unknown-logs.sh postgres" >&2
    exit 1
    ;;
esac
{
    printf '%s\n' "$rows"
    echo =
    cat
} | awk -F/ '
    $0 == "=" && !names { names = 1; next }
    !names { gsub("-", "", $1); known[$1 "/" $2] = 1; next }
    NF >= 5 && $(NF - 4) == "logs" { job = $(NF - 2); gsub("-", "", job); if (!((job "/" $(NF - 1)) in known)) print }
'
