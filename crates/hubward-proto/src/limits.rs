//! Sizes and times that the services prescribe, with unit and source.

use std::time::Duration;

/// Most bytes of a telemetry message: body plus properties, counted by
/// [`Message::size`](crate::hub::Message::size).
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-quotas-throttling.md, "Device-to-cloud messaging".
pub const TELEMETRY_MAX: usize = 262_144;

/// Most characters of a message id, correlation id and the like.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-messages-construct.md.
pub const MESSAGE_ID_MAX: usize = 128;

/// Most bytes of desired or of reported properties, counted by [`twin::size`](crate::hub::twin::size).
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-device-twins.md, "Device twin size".
pub const TWIN_PROPERTIES_MAX: usize = 32 * 1024;

/// Most bytes of the tags of a twin, counted alike.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-device-twins.md, "Device twin size".
pub const TWIN_TAGS_MAX: usize = 8 * 1024;

/// Most bytes of a name in a twin.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-device-twins.md, "Tags and properties format".
pub const TWIN_NAME_MAX: usize = 1024;

/// Most bytes of a text in a twin.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-device-twins.md, "Tags and properties format".
pub const TWIN_TEXT_MAX: usize = 4 * 1024;

/// Most levels of objects and arrays below tags, desired or reported properties.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-device-twins.md, "Tags and properties format"; that arrays
/// count is a `[guess]`.
pub const TWIN_DEPTH_MAX: usize = 10;

/// The least whole number in a twin.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-device-twins.md, "Tags and properties format".
pub const TWIN_INTEGER_MIN: i128 = -4_503_599_627_370_496;

/// The greatest whole number in a twin.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-device-twins.md, "Tags and properties format".
pub const TWIN_INTEGER_MAX: i128 = 4_503_599_627_370_495;

/// Most bytes of the payload of a direct method, and of its answer.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-direct-methods.md, "Method lifecycle".
pub const METHOD_PAYLOAD_MAX: usize = 128 * 1024;

/// How long a hub waits for the answer of a direct method when the caller does not say.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-direct-methods.md, "Invoke direct method".
pub const METHOD_RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest a caller may let a hub wait for the answer of a direct method.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-direct-methods.md, "Invoke direct method".
pub const METHOD_RESPONSE_TIMEOUT_MAX: Duration = Duration::from_secs(300);

/// Most bytes of a cloud-to-device message.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-quotas-throttling.md.
pub const CLOUD_TO_DEVICE_MAX: usize = 64 * 1024;

/// Cloud-to-device messages that a hub keeps for a device.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-messages-c2d.md, "Message lifecycle".
pub const CLOUD_TO_DEVICE_QUEUE: usize = 50;

/// Deliveries after which a hub gives a cloud-to-device message up, unless configured (1 to 100).
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-messages-c2d.md, "Cloud-to-device configuration options".
pub const CLOUD_TO_DEVICE_DELIVERIES: u32 = 10;

/// How long a hub keeps a cloud-to-device message, unless its sender or the hub's configuration says
/// (1 minute to 2 days).
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-messages-c2d.md, "Message time to live".
pub const CLOUD_TO_DEVICE_TTL: Duration = Duration::from_secs(3600);

/// How long a delivered cloud-to-device message stays invisible while it is not acknowledged.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-messages-c2d.md, "Message lifecycle".
pub const CLOUD_TO_DEVICE_LOCK: Duration = Duration::from_secs(60);

/// Most bytes of an MQTT topic.
///
/// Source: MQTT 3.1.1, section 1.5.3.
pub const TOPIC_MAX: usize = 65_535;

/// Most bytes of a request to DPS or an answer from it.
///
/// Source: `[doc]` includes/iot-dps-limits.md.
pub const DPS_MESSAGE_MAX: usize = 96 * 1024;

/// Most bytes of a `DeviceRegistration` answer that a client reads before it gives up: the
/// service's own limit, twice, since nobody says whether it counts the envelope.
///
/// Source: `[guess]` from [`DPS_MESSAGE_MAX`].
pub const DPS_ANSWER_MAX: usize = 2 * DPS_MESSAGE_MAX;

/// The longest a hub lets a silent client stay, whatever keep-alive it asked for.
///
/// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md, "Default keep-alive time-out" (29.45 minutes).
pub const KEEP_ALIVE_HARD_CAP: Duration = Duration::from_secs(1767);

/// The longest keep-alive that makes sense, since the hub waits 1.5 times as long.
///
/// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md.
pub const KEEP_ALIVE_MAX: Duration = Duration::from_secs(1177);

/// Topic filters a device may have at a time.
///
/// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md.
pub const SUBSCRIPTIONS_MAX: usize = 5;

/// How long to wait before the next poll when the service does not say.
///
/// Source: `[sdk]` azure-iot-sdk-python, constant.py (`DEFAULT_POLLING_INTERVAL`), and node.
pub const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// The least wait between two polls, even if the service says zero; the first poll follows at once.
///
/// Source: `[guess]`; Microsoft's C SDK waits at least 1 s.
pub const POLL_FLOOR: Duration = Duration::from_millis(100);

/// The least wait after a 5xx of DPS.
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
