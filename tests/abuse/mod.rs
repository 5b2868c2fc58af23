//! Tests with misbehaving clients. The emulator must keep serving other devices. The misbehaving clients run in a
//! process of their own.

mod half_open;
