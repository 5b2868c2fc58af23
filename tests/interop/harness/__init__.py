"""Installs the SDKs, isolates the network, starts the emulator, runs the cases and checks their results."""
