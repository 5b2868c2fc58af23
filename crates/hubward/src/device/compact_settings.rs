//! The settings that a running device needs. A device keeps them for its whole life, so they are small.

use std::path::PathBuf;
use std::time::Duration;

use hubward_dial::DialOverride;
use hubward_proto::{IdScope, RegistrationId};
use hubward_transport::{Credential, TransportKind};
use serde_json::Value;

use crate::{ConnectOptions, Settings};

/// The part of [`Settings`] that a device needs after its start. It contains neither the credential, which may change,
/// nor the options of the hub client, which the client has.
#[derive(Debug)]
pub(super) struct CompactSettings {
    pub(super) dps_host: Box<str>,
    pub(super) id_scope: IdScope,
    pub(super) registration_id: RegistrationId,
    pub(super) hub_transport: TransportKind,
    transport: TransportKind,
    user_agent: Box<str>,
    keep_alive: Duration,
    /// What few devices have; `None` if all of it is absent.
    rare: Option<Box<Rare>>,
}

#[derive(Debug, PartialEq)]
struct Rare {
    payload: Option<Value>,
    ca_file: Option<PathBuf>,
    dial_overrides: Box<[DialOverride]>,
    model_id: Option<Box<str>>,
}

impl CompactSettings {
    /// Takes what the device needs.
    pub(super) fn new(settings: Settings) -> Self {
        let hub_transport = settings.effective_hub_transport();
        let Settings { dps_host, id_scope, registration_id, transport, payload, options, .. } = settings;
        let ConnectOptions { ca_file, dial_overrides, user_agent, model_id, keep_alive, .. } = options;
        let rare = Rare {
            payload,
            ca_file,
            dial_overrides: dial_overrides.into(),
            model_id: model_id.map(String::into_boxed_str),
        };
        Self {
            dps_host: dps_host.into(),
            id_scope,
            registration_id,
            hub_transport,
            transport,
            user_agent: user_agent.into(),
            keep_alive,
            rare: (!rare.is_empty()).then(|| Box::new(rare)),
        }
    }

    /// Makes settings with this credential.
    pub(super) fn expand(&self, credential: &Credential) -> Settings {
        let (id_scope, id) = (self.id_scope.clone(), self.registration_id.clone());
        let mut settings = Settings::new(&*self.dps_host, id_scope, id, credential.clone())
            .transport(self.transport)
            .hub_transport(self.hub_transport)
            .options(|it| it.user_agent(&*self.user_agent).keep_alive(self.keep_alive));
        if let Some(rare) = &self.rare {
            settings.payload.clone_from(&rare.payload);
            settings.options.ca_file.clone_from(&rare.ca_file);
            settings.options.dial_overrides = rare.dial_overrides.to_vec();
            settings.options.model_id = rare.model_id.as_deref().map(str::to_owned);
        }
        settings
    }
}

impl Rare {
    fn is_empty(&self) -> bool {
        self.payload.is_none() && self.ca_file.is_none() && self.dial_overrides.is_empty() && self.model_id.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hubward_transport::SharedKey;
    use serde_json::json;

    #[test]
    fn the_settings_come_back_as_they_were() {
        let key = Credential::from(SharedKey::generate().expect("randomness"));
        let plain = Settings::new("dps.example", "0ne1".parse().expect("a scope"), "d".parse().expect("an id"), key);
        let full = plain.clone().transport(TransportKind::Https).payload(json!({ "a": 1 })).options(|it| {
            it.ca_file("ca.pem")
                .dial_overrides(DialOverride::parse_list(":443:127.0.0.1:8443").expect("a rule"))
                .user_agent("acme/1")
                .model_id("dtmi:com:example:Pump;1")
                .keep_alive(Duration::from_secs(20))
        });
        assert!(CompactSettings::new(plain.clone()).rare.is_none());
        for settings in [plain, full] {
            let back = CompactSettings::new(settings.clone()).expand(&settings.credential);
            assert_eq!(back.effective_hub_transport(), settings.effective_hub_transport());
            let expected = settings.clone().hub_transport(settings.effective_hub_transport());
            assert_eq!(format!("{back:?}"), format!("{expected:?}"));
        }
    }
}
