//! IoT Hub, the device side: user name, topics, property bags, messages.

mod login;
mod message;
mod property_bag;
mod topic;

pub use login::{API_VERSION, HubIdentity, HubUsername};
pub use message::Message;
pub use property_bag::PropertyBag;
pub use topic::{TelemetryTopic, TopicFilter};
