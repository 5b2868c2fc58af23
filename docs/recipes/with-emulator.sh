#!/bin/sh
# Runs a command with a local DPS and IoT Hub, and ends with the exit code of the command:
#   sh with-emulator.sh python -m pytest
# The environment of the command contains the variables of the device dev-1, the operators' logins and the CA file. Any
# other registration id can register with a key that is derived from the group key of the development keys.
# Set the options of the emulator with variables, such as HUBWARD_STANDARD_PORTS=true or HUBWARD_SEED=FILE.
set -eu

emulator='' command=''
# The data directory is temporary; the script deletes it at its end. `emulator env` finds the emulator through it, so
# the emulator must not run in memory.
unset HUBWARD_IN_MEMORY
HUBWARD_DATA_DIR=$(mktemp -d)
export HUBWARD_DATA_DIR
log=$HUBWARD_DATA_DIR/emulator.log

# The shell makes a background command ignore SIGINT; only GNU's env can reset this. A terminal sends SIGINT to the
# command itself, so the script does not send it again (signal 0 only checks that the command runs).
direct='' interrupt=TERM
if env --default-signal=INT true 2> /dev/null; then
    direct='env --default-signal=INT' interrupt='INT TERM'
    [ ! -t 0 ] || interrupt='0 TERM'
fi

# Sends a process these signals in order, and waits up to ten seconds after each one. Sends SIGKILL last.
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

# Some shells do not run the trap of EXIT if a signal ends them, so each signal has its own trap. After SIGTERM, the
# emulator ends with exit code 0.
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

# `emulator env` succeeds as soon as the emulator is ready, usually within a second.
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

# The command runs in the background, so that the shell runs the traps at once. It reads the script's standard input.
exec 3<&0
$direct "$@" <&3 3<&- &
command=$!
code=0
wait "$command" || code=$?
command=''
exit "$code"
