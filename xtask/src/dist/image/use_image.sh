#!/bin/sh
# Starts the emulator of an image, checks its health, registers a device, and stops the emulator. Runs in a network
# namespace that has only a loopback interface, with the environment of the image.
#
# Usage: sh use_image.sh FOLDER SHELL_PATH SIGNAL BWRAP [OPTION]…
#   FOLDER      for the log and for the process id
#   SHELL_PATH  the PATH of this script; the variable PATH is that of the image
#   BWRAP …     runs a program in the image
# The variable ENTRYPOINT contains the words of the entry point.
set -eu
folder=$1 shell_path=$2 signal=$3
shift 3
program=${ENTRYPOINT%% *}
image_path=$PATH
PATH=$shell_path

# As in the containers of the usual engines, every user may listen on every port.
echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start

# shellcheck disable=SC2086 # the entry point is several words
PATH=$image_path "$@" --info-fd 3 -- $ENTRYPOINT > "$folder/log" 2>&1 3> "$folder/info" &
emulator=$!

fail() {
    echo "$1; the emulator printed:" >&2
    cat "$folder/log" >&2
    exit 1
}

tries=1200
until health=$("$@" -- "$program" emulator status --output text 2>&1); do
    tries=$((tries - 1))
    kill -0 "$emulator" 2> /dev/null || fail 'the emulator has ended'
    [ "$tries" != 0 ] || fail "the health check never passed: $health"
    sleep 0.1
done

lines=$("$@" -- "$program" emulator env --shell sh --output text)
eval "$lines"
"$@" -- "$program" provision --messages 3 --output json || fail 'the device did not register'

process=$(sed -n 's/.*"child-pid": *\([0-9]*\).*/\1/p' "$folder/info")
kill "-$signal" "$process"
code=0
wait "$emulator" || code=$?
[ "$code" = 0 ] || fail "after SIG$signal, the emulator ended with exit code $code"
