//! Limits, times and ports of the services, each with its source.

use std::time::Duration;

/// Maximum size of a telemetry message in bytes: body and properties, as
/// [`Message::size`](crate::hub::Message::size) counts them.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-quotas-throttling.md, "Device-to-cloud messaging".
pub const TELEMETRY_MAX: usize = 262_144;

/// Maximum length of a message id or correlation id in bytes. The documentation counts ASCII characters.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-messages-construct.md.
pub const MESSAGE_ID_MAX: usize = 128;

/// Maximum size in bytes of the desired properties. The same limit applies to the reported properties. The function
/// [`twin::size`](crate::hub::twin::size) counts the bytes.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-device-twins.md, "Device twin size".
pub const TWIN_PROPERTIES_MAX: usize = 32 * 1024;

/// Maximum size of the tags of a twin in bytes, as [`twin::size`](crate::hub::twin::size) counts them.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-device-twins.md, "Device twin size".
pub const TWIN_TAGS_MAX: usize = 8 * 1024;

/// Maximum length of a name in a twin in bytes.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-device-twins.md, "Tags and properties format".
pub const TWIN_NAME_MAX: usize = 1024;

/// Maximum length of a string value in a twin in bytes.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-device-twins.md, "Tags and properties format".
pub const TWIN_TEXT_MAX: usize = 4 * 1024;

/// Maximum number of nested levels of objects and arrays in the tags, the desired properties or the reported
/// properties.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-device-twins.md, "Tags and properties format"; that arrays
/// count is a `[guess]`.
pub const TWIN_DEPTH_MAX: usize = 10;

/// The smallest integer in a twin.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-device-twins.md, "Tags and properties format".
pub const TWIN_INTEGER_MIN: i128 = -4_503_599_627_370_496;

/// The largest integer in a twin.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-device-twins.md, "Tags and properties format".
pub const TWIN_INTEGER_MAX: i128 = 4_503_599_627_370_495;

/// Maximum size in bytes of the payload of a direct method call. The same limit applies to the payload of the response.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-direct-methods.md, "Method lifecycle".
pub const METHOD_PAYLOAD_MAX: usize = 128 * 1024;

/// How long a hub waits for the response to a direct method if the caller sets no timeout.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-direct-methods.md, "Invoke direct method".
pub const METHOD_RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest timeout that a caller may set for the response to a direct method.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-direct-methods.md, "Invoke direct method".
pub const METHOD_RESPONSE_TIMEOUT_MAX: Duration = Duration::from_secs(300);

/// Maximum size of a cloud-to-device message in bytes.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-quotas-throttling.md.
pub const CLOUD_TO_DEVICE_MAX: usize = 64 * 1024;

/// Maximum number of cloud-to-device messages that a hub keeps for a device.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-messages-c2d.md, "Message lifecycle".
pub const CLOUD_TO_DEVICE_QUEUE: usize = 50;

/// Default maximum number of deliveries of a cloud-to-device message. A hub can be configured for 1 to 100 deliveries.
/// After the last delivery, the hub dead-letters the message.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-messages-c2d.md, "Cloud-to-device configuration options".
pub const CLOUD_TO_DEVICE_DELIVERIES: u32 = 10;

/// How long a hub keeps a cloud-to-device message by default. The sender or the hub's configuration can set another
/// time, from 1 minute to 2 days.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-messages-c2d.md, "Message time to live".
pub const CLOUD_TO_DEVICE_TTL: Duration = Duration::from_secs(3600);

/// How long a delivered cloud-to-device message stays locked. If the device does not acknowledge the message in this
/// time, the hub redelivers it.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-messages-c2d.md, "Message lifecycle".
pub const CLOUD_TO_DEVICE_LOCK: Duration = Duration::from_secs(60);

/// Maximum length of an MQTT topic in bytes.
///
/// Source: MQTT 3.1.1, section 1.5.3.
pub const TOPIC_MAX: usize = 65_535;

/// Maximum size in bytes of a request to DPS, or of an answer from DPS.
///
/// Source: `[doc]` includes/iot-dps-limits.md.
pub const DPS_MESSAGE_MAX: usize = 96 * 1024;

/// Maximum size in bytes of an answer from DPS that a client reads.
///
/// This is twice the service's limit, because no source says whether the service counts the whole answer or only its
/// payload.
///
/// Source: `[guess]` from [`DPS_MESSAGE_MAX`].
pub const DPS_RESPONSE_MAX: usize = 2 * DPS_MESSAGE_MAX;

/// Maximum length of a certificate request in base64 characters.
///
/// Source: `[sdk]` Azure/azure-iot-sdk; `[seen]` azure-iot-sdk-csharp, branch feature/iot-csr-preview,
/// `csr-scenarions.md`.
pub const CSR_MAX: usize = 8192;

/// How long a client waits for the next answer to a certificate request. After each answer 202, the time starts again.
///
/// Source: `[sdk]` Azure/azure-iot-sdk. azure-iot-sdk-c waits 180 s.
pub const CERTIFICATE_ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// How long a hub works on a certificate request after its answer 202.
///
/// Source: `[seen]` azure-iot-sdk-csharp, branch feature/iot-csr-preview, `csr-scenarions.md` (about 12 hours).
pub const CERTIFICATE_OPERATION_LIFE: Duration = Duration::from_secs(12 * 3600);

/// The longest silence of a client that a hub accepts. After this time, the hub disconnects the client, even if the
/// client chose a longer keep-alive.
///
/// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md, "Default keep-alive time-out" (29.45 minutes).
pub const KEEP_ALIVE_HARD_CAP: Duration = Duration::from_secs(1767);

/// The longest useful keep-alive. Times 1.5, it is 1,765.5 s, just below [`KEEP_ALIVE_HARD_CAP`] (1,767 s).
///
/// A hub disconnects a client after a silence of 1.5 times the client's keep-alive, and at the latest at this cap.
///
/// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md.
pub const KEEP_ALIVE_MAX: Duration = Duration::from_secs(1177);

/// Maximum number of topic filters that a device may subscribe to.
///
/// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md.
pub const SUBSCRIPTIONS_MAX: usize = 5;

/// How long to wait before the next poll if the service names no time.
///
/// Source: `[sdk]` azure-iot-sdk-python, constant.py (`DEFAULT_POLLING_INTERVAL`), and node.
pub const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// The shortest wait between two polls, even if the service asks for a shorter wait. This minimum does not apply to the
/// first poll, which may follow the registration immediately.
///
/// Source: `[guess]`; Microsoft's C SDK waits at least 1 s.
pub const POLL_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// The shortest wait after a 5xx status of DPS.
///
/// Source: `[doc]` iot-dps/concepts-deploy-at-scale.md, "Retry logic".
pub const SERVER_ERROR_WAIT: Duration = Duration::from_secs(5);

/// Port of MQTT over TLS.
///
/// Source: `[doc]` iot-dps/iot-mqtt-connect-to-iot-dps.md, iot/iot-mqtt-connect-to-iot-hub.md.
pub const MQTT_PORT: u16 = 8883;

/// Port of HTTPS and of MQTT over WebSocket.
///
/// Source: `[doc]` iot-dps/iot-mqtt-connect-to-iot-dps.md, iot/iot-mqtt-connect-to-iot-hub.md.
pub const HTTPS_PORT: u16 = 443;

/// Path of MQTT over WebSocket, at DPS and at hubs.
///
/// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md; `[sdk]` python, node, c.
pub const WEBSOCKET_PATH: &str = "/$iothub/websocket";

/// Subprotocol of MQTT over WebSocket.
///
/// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md; MQTT 3.1.1, section 6.
pub const WEBSOCKET_SUBPROTOCOL: &str = "mqtt";
