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
    mkdir -p "$folder/bin"
    ln -sf "$(realpath "$INPUT_PROGRAM")" "$folder/bin/hubward"
else
    python3 -m venv "$folder"
    "$folder/bin/pip" install --quiet --only-binary :all: "hubward-emulator${INPUT_VERSION:+==$INPUT_VERSION}"
fi
echo "$folder/bin" >> "$GITHUB_PATH"
"$folder/bin/hubward" --version
