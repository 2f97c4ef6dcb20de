# Owns one PostgreSQL server: starts it whenever told so, and ends and removes it when nobody can tell any more.
# $1: PostgreSQL's programs, $2: a folder to share, $3: the server's own folder, $4: the folder of the server that it
# follows, if any; the rest: its settings.
set -eu
bin=$1 shared=$2 own=$3 primary=$4
shift 4
exec >"$own/log" 2>&1

if [ -n "$primary" ]; then
    "$bin/pg_basebackup" --host="$primary" --port=27032 --username=postgres --pgdata="$own/data" \
        --write-recovery-conf --checkpoint=fast --no-sync
fi

# Making a cluster takes a second, copying one does not.
mkdir -p -m 700 "$shared"
exec 9>"$shared/lock"
flock 9
if ! [ -e "$shared/made" ]; then
    rm -rf "$shared/template"
    # An order of text that is not that of its bytes, to show that nothing depends on the database's own.
    "$bin/initdb" --pgdata="$shared/template" --username=postgres --auth=trust --encoding=UTF8 \
        --locale-provider=icu --icu-locale=en --locale=C --no-sync --no-instructions --wal-segsize=1
    touch "$shared/made"
fi
exec 9>&-
[ -n "$primary" ] || cp -a "$shared/template" "$own/data"

server=
while read -r _; do
    [ -z "$server" ] || wait "$server" || true
    "$bin/postgres" -D "$own/data" -k "$own" -p 27032 "$@" </dev/null >>"$own/log" 2>&1 &
    server=$!
done
if [ -n "$server" ]; then
    kill -QUIT "$server" || true
    wait "$server" || true
fi
rm -rf "$own"
