//! Misbehaving clients in a process of their own: the emulator must keep serving other devices.

mod half_open;
