//! The objects of DPS and of the hubs, in memory. The objects do no I/O and use no locks: the store has one lock for
//! all of them.
//!
//! `live` also contains the channels to the open connections.

mod authorities;
mod c2d;
mod changes;
mod credential_policies;
mod development;
mod device_authentication;
mod enroll_error;
mod enrollment;
mod enrollment_rules;
mod enrollment_x509;
mod export;
mod feedback;
mod issuance;
mod keys;
mod levels;
mod live;
mod outcome;
mod policy;
mod proof;
mod put;
mod record;
mod registry;
mod seed;
mod seed_authorities;
mod seed_devices;
mod seed_error;
mod seed_records;
mod serial;
mod state;
mod table;
mod twin;
mod twin_view;

#[cfg(feature = "admin")]
pub(crate) use authorities::Authority;
pub(crate) use authorities::read as read_authority;
pub use authorities::{AuthorityError, AuthorityView};
pub(crate) use c2d::{Acknowledged, Delivery, PACKET_ID_MAX, Post, Queue, Rules, later};
pub use c2d::{CloudMessageState, CloudMessageView};
pub use credential_policies::{CredentialPolicy, CredentialPolicyError, DEFAULT_CREDENTIAL_POLICY};
pub(crate) use credential_policies::{named_policy, policy_name};
pub use development::{DEV_GROUP, DEV_GROUP_KEY, DEV_ID_SCOPE};
pub(crate) use development::{dev_group, is_dev_group};
pub(crate) use device_authentication::{DeviceAuthentication, Thumbprints};
pub use enroll_error::EnrollError;
pub(crate) use enrollment::{Entry, Model, complete};
pub(crate) use enrollment_x509::certificates as x509_certificates;
pub(crate) use export::export;
pub use feedback::FeedbackRecord;
pub(crate) use issuance::{Issuance, PendingRequest, RequestResult};
pub(crate) use keys::KeyPair;
pub(crate) use levels::are_too_many as too_many_levels;
pub(crate) use live::{
    Activity, ConnectionChannels, EndReason, Key, MethodCall, MethodOutcome, MethodOutcomeSender, Push, Subscriptions,
};
pub use outcome::{Ack, Outcome};
pub(crate) use policy::{DPS_POLICY, DPS_RIGHTS, Right, hub_policy, set_policy_keys};
pub use policy::{Policy, PolicyView};
pub(crate) use proof::Proof;
pub(crate) use put::Put;
pub(crate) use record::{Assigned, Issued, Operation, Record};
pub use registry::{ConnectionState, DeviceStatus, DeviceView, ModuleView};
pub(crate) use registry::{Device, Hub, Session};
pub use seed::{Seed, SeedReport};
pub(crate) use seed::{apply, import, linked, named_authorities};
pub use seed_authorities::SeedAuthority;
pub use seed_devices::{SeedAuthentication, SeedDevice, SeedIssuance, SeedModule, SeedProperties};
pub use seed_error::SeedError;
pub use seed_records::{SeedAssigned, SeedRegistration};
pub(crate) use serial::key_pair;
pub(crate) use state::State;
pub(crate) use table::{Table, Touch};
pub(crate) use twin::{Change, Notice, Parts, TAGS_NAME, Twin};
pub use twin_view::TwinView;
pub(crate) use twin_view::twin_view;
