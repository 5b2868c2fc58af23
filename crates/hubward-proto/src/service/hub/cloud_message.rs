//! Cloud-to-device messages in the service API over HTTP.

use bytes::Bytes;

use crate::ProtoError;

const MESSAGE_ID: &str = "iothub-messageid";
const CORRELATION_ID: &str = "iothub-correlationid";
const USER_ID: &str = "iothub-userid";
const ACK: &str = "iothub-ack";
const CONTENT_TYPE: &str = "iothub-contenttype";
const CONTENT_ENCODING: &str = "iothub-contentencoding";
const EXPIRY: &str = "iothub-expiry";

/// Source: `[sdk]` azure-iot-sdk-c, iothubtransporthttp.c, for what a device receives.
const CONTENT_TYPE_C: &str = "contenttype";
const CONTENT_ENCODING_C: &str = "contentencoding";

const SYSTEM: [&str; 7] = [MESSAGE_ID, CORRELATION_ID, USER_ID, ACK, CONTENT_TYPE, CONTENT_ENCODING, EXPIRY];

/// Source: RFC 9110, section 5.6.2, without upper case.
const NAME: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~";

/// A cloud-to-device message: its body, and the properties that HTTP sends as headers.
///
/// No specification describes this request.
///
/// Source: for the path, the API version and the headers of application properties, `[sdk]` azure-iot-explorer,
/// devicesService.ts. For the names of the other headers, `[sdk]` azure-iot-device-http (Node), http.ts, and
/// azure-iot-sdk-java, HttpsSingleMessage: devices use the same names over HTTP.
///
/// ```
/// use hubward_proto::service::{CloudMessage, DeliveryAck};
///
/// let message = CloudMessage::new("reboot").message_id("m1").ack(DeliveryAck::Full).property("kind", "order");
/// assert_eq!(message.headers()?[0], ("iothub-messageid".to_owned(), "m1".to_owned()));
/// # Ok::<(), hubward_proto::ProtoError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct CloudMessage {
    /// The body.
    pub body: Bytes,
    /// The application properties. Over HTTP their names are always in lower case.
    pub properties: Vec<(String, String)>,
    /// The message id, at most 128 bytes.
    pub message_id: Option<String>,
    /// The correlation id: the id of a related message.
    pub correlation_id: Option<String>,
    /// The user id of the message.
    pub user_id: Option<String>,
    /// The media type of the body.
    pub content_type: Option<String>,
    /// The encoding of the body.
    pub content_encoding: Option<String>,
    /// Which feedback the sender requests.
    pub ack: Option<DeliveryAck>,
    /// When the message expires: ISO 8601, UTC.
    pub expiry_time_utc: Option<String>,
}

/// Which feedback the sender of a message requests.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-messages-c2d.md, "Message feedback".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryAck {
    /// No feedback.
    None,
    /// Feedback if the device completes the message.
    Positive,
    /// Feedback if the message expires or the hub stops delivering it.
    Negative,
    /// Feedback in both cases.
    Full,
}

impl DeliveryAck {
    /// Returns the value for the header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Positive => "positive",
            Self::Negative => "negative",
            Self::Full => "full",
        }
    }

    /// Parses the value of a header. Letter case does not matter.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let all = [Self::None, Self::Positive, Self::Negative, Self::Full];
        all.into_iter().find(|it| it.as_str().eq_ignore_ascii_case(text))
    }
}

impl CloudMessage {
    /// An `api-version` that is known to support this request.
    ///
    /// Source: `[sdk]` azure-iot-explorer, apiConstants.ts.
    pub const API_VERSION: &str = "2020-09-30";

    /// The prefix of the header of an application property.
    pub const PROPERTY: &str = "iothub-app-";

    /// Creates a message without properties.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    /// Sets [`CloudMessage::message_id`].
    pub fn message_id(mut self, value: impl Into<String>) -> Self {
        self.message_id = Some(value.into());
        self
    }

    /// Sets [`CloudMessage::ack`].
    pub const fn ack(mut self, ack: DeliveryAck) -> Self {
        self.ack = Some(ack);
        self
    }

    /// Adds an application property.
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.push((name.into(), value.into()));
        self
    }

    /// Returns the names and values of the headers.
    ///
    /// # Errors
    /// [`ProtoError::Property`] if HTTP would change a property or cannot transmit it. Each name must be a lower-case
    /// header name. Each value must contain only printable ASCII characters, and no space at its ends.
    pub fn headers(&self) -> Result<Vec<(String, String)>, ProtoError> {
        let system = SYSTEM.into_iter().filter_map(|name| Some((name.to_owned(), self.system(name)?)));
        let application = self.properties.iter().map(|(name, value)| {
            let is_name = !name.is_empty() && name.bytes().all(|it| NAME.contains(&it));
            if !is_name {
                let rule = "over HTTP a name must contain only lower-case letters, digits and !#$%&'*+-.^_`|~";
                return Err(ProtoError::property(name, rule));
            }
            Ok((format!("{}{name}", Self::PROPERTY), value.clone()))
        });
        let checked = |(name, value): (String, String)| {
            let is_value = value.bytes().all(|it| matches!(it, b' '..=b'~')) && value.trim() == value;
            let rule = "over HTTP a value must contain only printable ASCII characters, and no space at its ends";
            if is_value { Ok((name, value)) } else { Err(ProtoError::property(&name, rule)) }
        };
        system.map(Ok).chain(application).map(|it| it.and_then(checked)).collect()
    }

    fn system(&self, name: &str) -> Option<String> {
        let text = match name {
            MESSAGE_ID => &self.message_id,
            CORRELATION_ID => &self.correlation_id,
            USER_ID => &self.user_id,
            ACK => return Some(self.ack?.as_str().to_owned()),
            CONTENT_TYPE => &self.content_type,
            CONTENT_ENCODING => &self.content_encoding,
            EXPIRY => &self.expiry_time_utc,
            _ => &None,
        };
        text.clone()
    }

    /// Parses the headers of a request. Ignores each header that does not belong to a property of the message. The
    /// letter case of header names does not matter.
    ///
    /// # Errors
    /// [`ProtoError::Property`] for an unknown value of `iothub-ack`.
    pub fn read<'a>(
        body: impl Into<Bytes>,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, ProtoError> {
        let mut message = Self::new(body);
        for (name, value) in headers {
            let name = name.to_ascii_lowercase();
            if let Some(name) = name.strip_prefix(Self::PROPERTY) {
                message.properties.push((name.to_owned(), value.to_owned()));
                continue;
            }
            let slot = match name.as_str() {
                MESSAGE_ID => &mut message.message_id,
                CORRELATION_ID => &mut message.correlation_id,
                USER_ID => &mut message.user_id,
                CONTENT_TYPE | CONTENT_TYPE_C => &mut message.content_type,
                CONTENT_ENCODING | CONTENT_ENCODING_C => &mut message.content_encoding,
                EXPIRY => &mut message.expiry_time_utc,
                ACK => {
                    let ack = DeliveryAck::parse(value);
                    let rule = "it must be none, positive, negative or full";
                    message.ack = Some(ack.ok_or_else(|| ProtoError::property(ACK, rule))?);
                    continue;
                }
                _ => continue,
            };
            *slot = Some(value.to_owned());
        }
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of azure-iot-device-http and azure-iot-explorer.
    #[test]
    fn encodes_and_parses_the_headers_of_the_sdks() {
        let mut message = CloudMessage::new("x").message_id("m1").ack(DeliveryAck::Full).property("k-1", "v 1");
        message.correlation_id = Some("c1".into());
        message.user_id = Some("u1".into());
        message.content_type = Some("application/json".into());
        message.content_encoding = Some("utf-8".into());
        message.expiry_time_utc = Some("2026-11-30T12:00:00Z".into());
        let expected = [
            ("iothub-messageid", "m1"),
            ("iothub-correlationid", "c1"),
            ("iothub-userid", "u1"),
            ("iothub-ack", "full"),
            ("iothub-contenttype", "application/json"),
            ("iothub-contentencoding", "utf-8"),
            ("iothub-expiry", "2026-11-30T12:00:00Z"),
            ("iothub-app-k-1", "v 1"),
        ];
        let headers = message.headers().expect("headers");
        assert_eq!(headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let others = [("Host", "h"), ("Content-Type", "text/plain"), ("Content-Encoding", "utf-8")];
        assert_eq!(CloudMessage::read("x", expected.into_iter().chain(others)), Ok(message));
        let c_sdk = [("ContentType", "a/b"), ("ContentEncoding", "utf-8"), ("IoTHub-Ack", "NONE")];
        let message = CloudMessage::read("", c_sdk).expect("a message");
        assert_eq!((message.content_type.as_deref(), message.ack), (Some("a/b"), Some(DeliveryAck::None)));
        assert!(CloudMessage::read("", [("iothub-ack", "maybe")]).is_err());
    }

    #[test]
    fn properties_that_http_would_change_are_refused() {
        let with = |name: &str, value: &str| CloudMessage::new("").property(name, value).headers();
        for (name, value) in
            [("Kind", "v"), ("", "v"), ("a b", "v"), ("ü", "v"), ("k", "ü"), ("k", " v"), ("k", "a\r\nb")]
        {
            assert!(matches!(with(name, value), Err(ProtoError::Property { .. })), "{name} {value}");
        }
        assert!(CloudMessage::new("").message_id("a\nb").headers().is_err());
        assert!(with("k", "").is_ok());
    }
}
