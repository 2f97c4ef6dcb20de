#!/bin/sh
# Three stages over two streams: capture, transform, archive. Each of them, and the server, is killed with SIGKILL again and
# again, and started again. In the end every frame was archived, and none was made twice.
#
#     examples/pipeline.sh [DIRECTORY WITH payloadd AND payloadctl]
set -eu

frames=20
bin=$(cd "${1:-target/release}" && pwd)
work=$(mktemp -d)
mkdir "$work/archive"
export PAYLOAD_ENDPOINT="$work/data/endpoint.json"

payloadctl() { "$bin/payloadctl" "$@"; }

# Each frame in capital letters: published in the moment in which its input is committed.
start_transform() {
    "$bin/payloadctl" stream tail raw --follow --group transform --exec 'tr a-z A-Z' --to made 2>>"$work/stages.log" &
    transform=$!
}

# One file for each; the same file if the stage was killed before it could commit.
start_archive() {
    "$bin/payloadctl" stream tail made --follow --group archive --exec "cat > $work/archive/\$STREAM_OFFSET" \
        2>>"$work/stages.log" &
    archive=$!
}

kill_stage() {
    kill -KILL "$1"
    wait "$1" 2>/dev/null || true
}

# A stage ends if there is no server in the moment in which it starts. Then it is started again, as a service manager would.
revive() {
    ended "$transform" && start_transform
    ended "$archive" && start_archive
    return 0
}

ended() {
    ! grep -q '^State:.[^Z]' "/proc/$1/status" 2>/dev/null
}

is_complete() {
    revive
    frame=0
    while [ $frame -lt $frames ]; do
        [ "$(cat "$work/archive/$frame" 2>/dev/null)" = "FRAME $frame" ] || return 1
        frame=$((frame + 1))
    done
    payloadctl -o json stream groups made | grep -Eq "\"offset\": ?$frames\\b"
}

# Waits for a condition, some minutes at most.
await() {
    patience=3000
    until "$@" >/dev/null 2>&1; do
        patience=$((patience - 1))
        if [ $patience -eq 0 ]; then
            echo "waited too long for: $*" >&2
            cat "$work/log" "$work/stages.log" >&2
            exit 1
        fi
        sleep 0.1
    done
}

"$bin/payloadd" --data-dir "$work/data" --listen 127.0.0.1:0 --http-listen 127.0.0.1:0 2>"$work/log" &
server=$!
transform= archive=
trap 'kill $transform $archive $server 2>/dev/null || true; wait; rm -rf "$work"' EXIT
await payloadctl stats

payloadctl stream create raw >/dev/null
payloadctl stream create made >/dev/null
start_transform
start_archive
frame=0
while [ $frame -lt $frames ]; do
    printf 'frame %s' $frame | payloadctl put - --publish raw >/dev/null
    case $((frame % 4)) in
        1) kill_stage "$transform" && start_transform ;;
        2) kill_stage "$archive" && start_archive ;;
        3) kill -KILL "$(sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' "$PAYLOAD_ENDPOINT")" ;;
    esac
    frame=$((frame + 1))
done
await is_complete
payloadctl stream show made
echo "archived $frames of $frames frames, each once, over 15 kills"
