//! Encodes CONNECT. Only this module holds a password, and it wipes the password as soon as possible.

use std::time::Duration;

use bytes::BytesMut;
use hubward_proto::{ProtoError, limits};
use hubward_transport::SasToken;
use rumqttc::mqttbytes::Protocol;
use rumqttc::mqttbytes::v4;
use zeroize::{Zeroize, Zeroizing};

/// The contents of a CONNECT, without the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) client_id: String,
    pub(crate) username: String,
    /// Sent in whole seconds, from 1 s to [`limits::KEEP_ALIVE_MAX`].
    pub(crate) keep_alive: Duration,
    pub(crate) clean_session: bool,
}

impl Login {
    /// The keep-alive that CONNECT contains.
    pub(crate) fn keep_alive(&self) -> Duration {
        let longest = limits::KEEP_ALIVE_MAX.as_secs();
        Duration::from_secs(self.keep_alive.as_secs().clamp(1, longest))
    }

    /// Encodes the CONNECT packet, with the token as password.
    ///
    /// `rumqttc`'s `Connect` and `Login` print the password in `Debug` and leave it in memory. Only this
    /// function uses these types, and it wipes the password before it returns.
    pub(crate) fn encode(&self, token: Option<&SasToken>) -> Result<Zeroizing<Vec<u8>>, ProtoError> {
        let password = token.map_or("", SasToken::expose);
        for (what, text) in [
            ("the MQTT client id", self.client_id.as_str()),
            ("the MQTT user name", &self.username),
            ("the SAS token", password),
        ] {
            if text.len() > usize::from(u16::MAX) {
                return Err(ProtoError::TooLarge { what, size: text.len(), limit: usize::from(u16::MAX) });
            }
        }
        let mut connect = v4::Connect {
            protocol: Protocol::V4,
            keep_alive: u16::try_from(self.keep_alive().as_secs()).unwrap_or(u16::MAX),
            client_id: self.client_id.clone(),
            clean_session: self.clean_session,
            last_will: None,
            login: Some(v4::Login { username: self.username.clone(), password: password.to_owned() }),
        };
        // Allocate the exact size: a buffer that grows leaves copies of the password in memory.
        let mut packet = BytesMut::with_capacity(connect.size());
        let written = connect.write(&mut packet);
        if let Some(login) = &mut connect.login {
            login.password.zeroize();
        }
        let bytes = Zeroizing::new(packet.to_vec());
        packet.zeroize();
        match written {
            Ok(_) => Ok(bytes),
            Err(problem) => Err(ProtoError::Unexpected(format!("CONNECT cannot be encoded: {problem}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login() -> Login {
        Login {
            client_id: "d1".into(),
            username: "h/d1/?api-version=2021-04-12".into(),
            keep_alive: Duration::from_secs(60),
            clean_session: false,
        }
    }

    /// The expected bytes are copied by hand from MQTT 3.1.1, section 3.1.
    #[test]
    fn connect_matches_the_specification() {
        let token =
            SasToken::parse("SharedAccessSignature sr=h%2Fdevices%2Fd1&sig=AAAA&se=1700003600").expect("a token");
        let bytes = login().encode(Some(&token)).expect("a packet");
        let password = token.expose().as_bytes();
        let mut expected = vec![0x10, u8::try_from(10 + 4 + 30 + 2 + password.len()).expect("below 128")];
        expected.extend(b"\x00\x04MQTT\x04\xc0\x00\x3c");
        expected.extend(b"\x00\x02d1");
        expected.extend(b"\x00\x1ch/d1/?api-version=2021-04-12");
        expected.extend([0, u8::try_from(password.len()).expect("short")]);
        expected.extend(password);
        assert_eq!(bytes.as_slice(), expected);
    }

    #[test]
    fn without_a_token_connect_has_no_password() {
        let clean = Login { clean_session: true, keep_alive: Duration::from_secs(99_999), ..login() };
        let bytes = clean.encode(None).expect("a packet");
        let expected = b"\x10\x2c\x00\x04MQTT\x04\x82\x04\x99\x00\x02d1\x00\x1ch/d1/?api-version=2021-04-12";
        assert_eq!(bytes.as_slice(), expected, "1177 s is the longest keep-alive");
    }

    #[test]
    fn the_keep_alive_is_sent_in_whole_seconds_from_1_to_1177() {
        for (keep_alive, sent) in [
            (Duration::ZERO, 1),
            (Duration::from_millis(999), 1),
            (Duration::from_millis(1999), 1),
            (Duration::from_secs(60), 60),
            (Duration::from_secs(1177), 1177),
            (Duration::from_secs(1178), 1177),
            (Duration::MAX, 1177),
        ] {
            let login = Login { keep_alive, ..login() };
            let bytes = login.encode(None).expect("a packet");
            // The keep-alive follows the fixed header, the protocol name, the level and the flags.
            assert_eq!(u16::from_be_bytes([bytes[10], bytes[11]]), sent, "{keep_alive:?}");
            assert_eq!(login.keep_alive(), Duration::from_secs(sent.into()), "the same value as in CONNECT");
        }
    }

    #[test]
    fn a_user_name_too_long_for_mqtt_is_refused() {
        let long = Login { username: "u".repeat(65_536), ..login() };
        assert_eq!(
            long.encode(None),
            Err(ProtoError::TooLarge { what: "the MQTT user name", size: 65_536, limit: 65_535 })
        );
    }
}
