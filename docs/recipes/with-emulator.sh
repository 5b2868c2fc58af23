#!/bin/sh
# Runs a command with a local DPS and IoT Hub, and ends with its exit code:
#   sh with-emulator.sh python -m pytest
# The command finds the device dev-1, the operators' logins and the CA in its environment. Any other
# registration id works with a key derived from that of the development keys.
# Options of the emulator come by their variables: HUBWARD_STANDARD_PORTS=true, HUBWARD_SEED=FILE, …
set -eu

emulator='' command=''
# The data directory is a temporary one: nothing outlives this. Without one `env` would find no emulator.
unset HUBWARD_IN_MEMORY
HUBWARD_DATA_DIR=$(mktemp -d)
export HUBWARD_DATA_DIR
log=$HUBWARD_DATA_DIR/emulator.log

# A shell's background command ignores SIGINT; only GNU's env undoes that. At a terminal the command has
# heard it already.
direct='' interrupt=TERM
if env --default-signal=INT true 2> /dev/null; then
    direct='env --default-signal=INT' interrupt='INT TERM'
    [ ! -t 0 ] || interrupt='0 TERM'
fi

# Ends a process by the first of these signals that it heeds within ten seconds, at last by SIGKILL.
stop() {
    for signal in $2 KILL; do
        kill "-$signal" "$1" 2> /dev/null || break
        tries=100
        while [ "$tries" != 0 ] && kill -0 "$1" 2> /dev/null; do
            tries=$((tries - 1))
            sleep 0.1
        done
    done
    wait "$1" 2> /dev/null || true
}

# Not every shell runs the trap of EXIT when a signal ends it. SIGTERM ends the emulator well.
end() {
    trap '' TERM INT HUP
    trap - EXIT
    [ -z "$command" ] || stop "$command" "$2"
    [ -z "$emulator" ] || stop "$emulator" TERM
    rm -rf "$HUBWARD_DATA_DIR"
    exit "$1"
}
trap 'end $? TERM' EXIT
trap 'end 129 "HUP TERM"' HUP
trap 'end 130 "$interrupt"' INT
trap 'end 143 TERM' TERM

hubward emulator --dev-keys > "$log" 2>&1 &
emulator=$!

# It is ready in well under a second; `env` answers from then on.
tries=300
until lines=$(hubward emulator env --shell sh --output text 2> /dev/null); do
    tries=$((tries - 1))
    if [ "$tries" = 0 ] || ! kill -0 "$emulator" 2> /dev/null; then
        cat "$log" >&2
        exit 1
    fi
    sleep 0.1
done
eval "$lines"

# In the background, so that a signal is heard while it runs; with the standard input that is ours.
exec 3<&0
$direct "$@" <&3 3<&- &
command=$!
code=0
wait "$command" || code=$?
command=''
exit "$code"
