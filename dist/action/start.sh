#!/usr/bin/env bash
# Starts the emulator for the next steps of a GitHub job, and waits until it is ready. Sets the variables of a device, of
# the operators' logins and of the certificates for the next steps. The variables HUBWARD_… are the emulator's options.
# The runner ends the emulator at the end of the job.
set -euo pipefail

# The data folder and the log contain keys. Only the user of the job may read them.
umask 077
export HUBWARD_DATA_DIR=${HUBWARD_DATA_DIR:-$RUNNER_TEMP/hubward-data}
mkdir -p "$HUBWARD_DATA_DIR"
log=$HUBWARD_DATA_DIR/emulator.log

if [ "${INPUT_STANDARD_PORTS:-true}" = true ]; then
    export HUBWARD_STANDARD_PORTS=true
    # Ports below 1024 need a right. The runner of a job is a machine of its own, so every user may have it.
    sudo sysctl -q -w net.ipv4.ip_unprivileged_port_start=443
fi

# Without a seed, the development keys: every registration id works.
options=()
[ -n "${HUBWARD_SEED:-}" ] || options+=(--dev-keys)
nohup hubward emulator "${options[@]}" > "$log" 2>&1 < /dev/null &
emulator=$!

tries=600
until lines=$(hubward emulator env --shell sh --output text 2> /dev/null); do
    tries=$((tries - 1))
    if [ "$tries" = 0 ] || ! kill -0 "$emulator" 2> /dev/null; then
        echo '::error::the emulator did not start; its output follows' >&2
        cat "$log" >&2
        exit 1
    fi
    sleep 0.1
done

# If a variable contains a key, makes the runner replace this key by `***` in the log of the job.
mask_key() {
    local key=";$2"
    case $1 in *_KEY) echo "::add-mask::$2" ;; esac
    case $key in *';SharedAccessKey='*) key=${key##*;SharedAccessKey=}; echo "::add-mask::${key%%;*}" ;; esac
}

# A value may contain several lines, so each value gets an end mark that it does not contain.
set_variable() {
    local mark=END_OF_VALUE
    while [[ $2 == *"$mark"* ]]; do mark+=_; done
    printf '%s<<%s\n%s\n%s\n' "$1" "$mark" "$2" "$mark" >> "$GITHUB_ENV"
}
while IFS= read -r -d '' entry; do
    name=${entry%%=*}
    # bash sets these itself.
    case $name in PWD | OLDPWD | SHLVL | _) continue ;; esac
    mask_key "$name" "${entry#*=}"
    set_variable "$name" "${entry#*=}"
done < <(env -i "$BASH" -c "$lines"$'\n'"$(command -v env) -0")
set_variable HUBWARD_DATA_DIR "$HUBWARD_DATA_DIR"
set_variable HUBWARD_EMULATOR_PID "$emulator"
echo "the emulator is ready; its log is $log"
