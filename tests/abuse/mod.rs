//! Tests with misbehaving clients, which run in a process of their own. The emulator must keep serving other devices.

mod half_open;
