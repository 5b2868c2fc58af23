//! The scenarios, in the order of the table.

mod anywhere;
mod cloud_side;

use crate::scenario::{Body, Scenario};

/// A scenario that may run against a live service.
macro_rules! anywhere {
    ($body:path) => {
        Scenario { name: name(stringify!($body)), body: Body::Anywhere(|settings| Box::pin($body(settings))) }
    };
}

/// A scenario that needs the emulator.
macro_rules! emulator {
    ($body:path) => {
        Scenario { name: name(stringify!($body)), body: Body::Emulator(|cloud, kind| Box::pin($body(cloud, kind))) }
    };
}

/// All of them.
pub const ALL: &[Scenario] = &[
    anywhere!(anywhere::provisions),
    anywhere!(anywhere::provisions_again),
    anywhere!(anywhere::sends_ten_at_once),
    anywhere!(anywhere::sends_every_property),
    anywhere!(anywhere::refuses_oversize_before_sending),
    anywhere!(anywhere::closes_in_the_middle),
    emulator!(cloud_side::group_device_derives_its_key),
    emulator!(cloud_side::individual_wins_over_its_group),
    emulator!(cloud_side::device_id_may_differ),
    emulator!(cloud_side::secondary_key_works_too),
    emulator!(cloud_side::payload_goes_out_and_comes_back),
    emulator!(cloud_side::several_hubs_share_the_devices),
    emulator!(cloud_side::telemetry_arrives_as_sent),
    emulator!(cloud_side::waits_as_long_as_asked),
    emulator!(cloud_side::survives_odd_answers),
    emulator!(cloud_side::a_cut_while_assigning_resumes),
    emulator!(cloud_side::grace_of_an_expired_token),
    emulator!(cloud_side::reconnects_and_resends),
    emulator!(cloud_side::a_missing_puback_is_sent_again),
    emulator!(cloud_side::renews_its_token),
    emulator!(cloud_side::takes_over_from_an_older_connection),
];

/// The last part of a path: the function's name is the scenario's.
const fn name(path: &'static str) -> &'static str {
    let bytes = path.as_bytes();
    let mut at = bytes.len();
    while at > 0 && bytes[at - 1] != b':' && bytes[at - 1] != b' ' {
        at -= 1;
    }
    path.split_at(at).1
}
