//! The device API of IoT Hub: user name, topics, property bags, messages.

pub mod credential_code;
mod credential_topic;
mod error_body;
mod incoming;
mod incoming_topic;
mod issue_certificate;
mod login;
mod message;
mod property_bag;
mod request_topic;
mod response_topic;
mod topic;
pub mod twin;
mod twin_size;

pub use credential_topic::{CredentialResponseTopic, IssueCertificateTopic};
pub use error_body::ErrorBody;
pub use incoming::IncomingMessage;
pub use incoming_topic::{CloudToDeviceTopic, ModuleInputTopic};
pub use issue_certificate::{
    CertificateAccepted, CertificateRefusal, IssueCertificate, IssuedCertificates, MalformedRequest, Replace,
};
pub use login::{API_VERSION, API_VERSION_WITH_CERTIFICATES, HubIdentity, HubUsername};
pub use message::Message;
pub use property_bag::PropertyBag;
pub use request_topic::{MethodResponseTopic, TwinGetTopic, TwinReportedTopic};
pub use response_topic::{DesiredTopic, MethodRequestTopic, TwinResponseTopic};
pub use topic::{TelemetryTopic, TopicFilter};
pub use twin::{Properties, Twin};
pub use twin_size::TwinSize;
