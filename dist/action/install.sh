#!/usr/bin/env bash
# Installs hubward for the next steps of a GitHub job. With INPUT_PROGRAM, only makes this program available as hubward.
# Without it, installs the version INPUT_VERSION of the package hubward-emulator; the newest version if it is empty.
set -euo pipefail

folder=$RUNNER_TEMP/hubward
if [ -n "${INPUT_PROGRAM:-}" ]; then
    if [ ! -x "$INPUT_PROGRAM" ]; then
        echo "::error::the input \`program\` names no program: $INPUT_PROGRAM" >&2
        exit 1
    fi
    program=$(realpath "$INPUT_PROGRAM")
else
    python3 -m venv "$folder/venv"
    "$folder/venv/bin/pip" install --quiet --only-binary :all: "hubward-emulator${INPUT_VERSION:+==$INPUT_VERSION}"
    program=$folder/venv/bin/hubward
fi
# The folder of the virtual environment also contains python and pip, which would replace those of the job. So the next
# steps get a folder that contains only hubward.
mkdir -p "$folder/bin"
ln -sf "$program" "$folder/bin/hubward"
echo "$folder/bin" >> "$GITHUB_PATH"
"$folder/bin/hubward" --version
