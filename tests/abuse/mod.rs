//! What a second process may do to an emulator without harm to others.

mod half_open;
