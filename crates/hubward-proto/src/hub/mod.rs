//! IoT Hub, the device side: user name, topics, property bags, messages.

mod incoming_topic;
mod login;
mod message;
mod property_bag;
mod request_topic;
mod topic;

pub use incoming_topic::{CloudToDeviceTopic, ModuleInputTopic};
pub use login::{API_VERSION, HubIdentity, HubUsername};
pub use message::Message;
pub use property_bag::PropertyBag;
pub use request_topic::{MethodResponseTopic, TwinGetTopic, TwinReportedTopic};
pub use topic::{TelemetryTopic, TopicFilter};
