#!/bin/sh
# Runs a command with a local DPS and IoT Hub, and ends with its exit code:
#   sh with-emulator.sh python -m pytest
# The command finds the device dev-1, the operators' logins and the CA in its environment. Any other
# registration id works with a key derived from that of the development keys.
# Options of the emulator come by their variables: HUBWARD_STANDARD_PORTS=true, HUBWARD_SEED=FILE, …
set -eu

HUBWARD_DATA_DIR=$(mktemp -d)
export HUBWARD_DATA_DIR
log=$HUBWARD_DATA_DIR/emulator.log

hubward emulator --dev-keys > "$log" 2>&1 &
emulator=$!
# SIGTERM ends it well. The exit code stays that of the command.
trap 'kill "$emulator" 2> /dev/null || true; wait "$emulator" || true; rm -rf "$HUBWARD_DATA_DIR"' EXIT

# It is ready in well under a second; `env` answers from then on.
until lines=$(hubward emulator env --shell sh 2> /dev/null); do
    kill -0 "$emulator" 2> /dev/null || { cat "$log" >&2; exit 1; }
    sleep 0.1
done
eval "$lines"

"$@"
