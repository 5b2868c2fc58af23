//! A device with certificates that DPS and the hub issue.

mod crashes;
mod lives;
mod scene;
mod troubles;
