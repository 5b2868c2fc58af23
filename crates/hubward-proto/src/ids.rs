//! The ids of the services. Each id has its own type. The constructor of the type checks the id.

use std::fmt;
use std::str::FromStr;

use crate::ProtoError;

/// Defines a type for an id, with a constructor that checks the text. The type has `new`, `as_str`, `Display` and
/// `FromStr`.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            #[doc = concat!("Creates the id from a text: ", $rule, ".")]
            ///
            /// # Errors
            /// [`ProtoError::Id`] if the text breaks the rule.
            pub fn new(text: impl Into<String>) -> Result<Self, ProtoError> {
                let text = text.into();
                let valid: fn(&str) -> bool = $valid;
                if valid(&text) { Ok(Self(text)) } else { Err(ProtoError::id($what, &text, $rule)) }
            }

            /// Returns the id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = ProtoError;

            fn from_str(text: &str) -> Result<Self, ProtoError> {
                Self::new(text)
            }
        }
    };
}

id!(
    /// The id scope of a DPS instance, such as `0ne00123ABC`.
    ///
    /// Source: `[doc]` iot-dps/concepts-service.md, "ID scope"; the length limit is a `[guess]`.
    IdScope,
    "id scope",
    "it must have 1 to 64 letters and digits, such as 0ne00123ABC",
    |text| (1..=64).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_alphanumeric())
);

id!(
    /// The id under which a device registers.
    ///
    /// DPS ignores the letter case of this id. This type keeps the letter case, because key derivation depends on it.
    ///
    /// Source: `[doc]` iot-dps/concepts-service.md, "Registration ID".
    RegistrationId,
    "registration id",
    "it must have 1 to 128 letters, digits and - . _ : and end with a letter, a digit or -",
    |text| {
        (1..=128).contains(&text.len())
            && text.bytes().all(|it| it.is_ascii_alphanumeric() || b"-._:".contains(&it))
            && text.bytes().last().is_some_and(|it| it.is_ascii_alphanumeric() || it == b'-')
    }
);

id!(
    /// The id of a device at its hub; letter case matters.
    ///
    /// Source: `[doc]` iot-hub/iot-hub-devguide-identity-registry.md, "Device identity properties".
    DeviceId,
    "device id",
    "it must have 1 to 128 ASCII letters, digits and - : . + % _ # * ? ! ( ) , = @ $ '",
    is_identity
);

id!(
    /// The id of a module of a device; letter case matters.
    ///
    /// Source: `[doc]` iot-hub/iot-hub-devguide-identity-registry.md, "Module identity properties".
    ModuleId,
    "module id",
    "it must have 1 to 128 ASCII letters, digits and - : . + % _ # * ? ! ( ) , = @ $ '",
    is_identity
);

id!(
    /// The host name of a hub, such as `contoso.azure-devices.net`, without a port. The services never send a port.
    ///
    /// Source: `[doc]` iot-dps device API, `assignedHub`.
    HubHost,
    "hub host name",
    "it must be a host name or an IP address, without a port",
    |text| {
        (1..=253).contains(&text.len())
            && text.bytes().all(|it| it.is_ascii_alphanumeric() || b"-._:".contains(&it))
            && (!text.contains(':') || text.parse::<std::net::Ipv6Addr>().is_ok())
    }
);

id!(
    /// The id that DPS gives to a running registration. Clients must not interpret it. In traces, its form is
    /// `<digit>.<16 hex>.<uuid>`.
    ///
    /// Source: `[doc]` iot-dps device API.
    ///
    /// `[guess]`: the accepted characters. With them, an id from a hostile server cannot change the structure of a
    /// topic or path.
    ///
    /// `.` and `..` are refused because servers and proxies resolve them in a path (RFC 3986, section 5.2.4).
    OperationId,
    "operation id",
    "it must have 1 to 256 letters, digits and - . _ : = ~, and must not be . or ..",
    |text| {
        (1..=256).contains(&text.len())
            && !matches!(text, "." | "..")
            && text.bytes().all(|it| it.is_ascii_alphanumeric() || b"-._:=~".contains(&it))
    }
);

id!(
    /// The id that a device gives to a certificate request at its hub. The hub's answers repeat it.
    ///
    /// Source: `[seen]` azure-iot-sdk-csharp, branch feature/iot-csr-preview, `csr-scenarions.md`.
    CertificateRequestId,
    "id of a certificate request",
    "it must have 4 to 36 ASCII letters, digits and -, and no - at either end",
    |text| {
        (4..=36).contains(&text.len())
            && text.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-')
    }
);

fn is_identity(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|it| it.is_ascii_alphanumeric() || b"-:.+%_#*?!(),=@$'".contains(&it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_and_refuses_as_documented() {
        let long = "a".repeat(129);
        for (text, registration, device) in [
            ("dev-1", true, true),
            ("Dev_1.a:b-", true, true),
            ("dev.", false, true),
            ("dev 1", false, false),
            ("dev/1", false, false),
            ("dev#1'", false, true),
            ("dé", false, false),
            ("", false, false),
            (long.as_str(), false, false),
        ] {
            assert_eq!(RegistrationId::new(text).is_ok(), registration, "registration id {text}");
            assert_eq!(DeviceId::new(text).is_ok(), device, "device id {text}");
        }
    }

    #[test]
    fn hub_hosts_have_no_port() {
        for (text, valid) in [
            ("contoso.azure-devices.net", true),
            ("localhost", true),
            ("127.0.0.2", true),
            ("::1", true),
            ("localhost:8883", false),
            ("a/b", false),
            ("", false),
        ] {
            assert_eq!(HubHost::new(text).is_ok(), valid, "{text}");
        }
    }

    /// A peer chooses the operation id, and the client inserts the id into paths and topics. So the id must not contain
    /// a character that changes the structure of a path or topic.
    #[test]
    fn an_operation_id_is_one_segment_of_a_path() {
        for text in ["4.d0a671905ea5b2c8.42d78160-4c78-479e-8be7-61d5e55dac0d", "...", ".a", "a=b~c:d_e"] {
            assert!(OperationId::new(text).is_ok(), "{text}");
        }
        let long = "a".repeat(257);
        for text in
            ["", ".", "..", "/", "a/b", "../a", "a?b", "a#b", "a+b", "a&b", "a%2fb", "a b", "a\0", "a\nb", "é", &long]
        {
            assert!(OperationId::new(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_id_of_a_certificate_request_has_4_to_36_characters() {
        let (longest, long) = ("a".repeat(36), "a".repeat(37));
        for (text, valid) in [
            ("a1B2", true),
            ("a--b", true),
            ("5ecd03d5-4c78-479e-8be7-61d5e55dac0d", true),
            (longest.as_str(), true),
            (long.as_str(), false),
            ("abc", false),
            ("-abc", false),
            ("abc-", false),
            ("ab_c", false),
            ("ab&c", false),
            ("abcé", false),
            ("", false),
        ] {
            assert_eq!(CertificateRequestId::new(text).is_ok(), valid, "{text}");
        }
    }

    #[test]
    fn the_error_names_the_rule() {
        let error = IdScope::new("0ne 1").expect_err("a space");
        assert_eq!(
            error.to_string(),
            "id scope `0ne 1` is not valid: it must have 1 to 64 letters and digits, such as 0ne00123ABC"
        );
    }
}
