"""The harness around the SDKs: installs, isolates, starts the emulator, runs, judges."""
