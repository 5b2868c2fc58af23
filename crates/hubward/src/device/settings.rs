//! The settings of a device that keeps itself connected.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use hubward_transport::SharedKey;

use super::certificate_issuance::CertificateIssuance;
use super::control::EventHook;
use super::credentials::{Credentials, NamedCredential};
use super::event::DeviceEvent;
use super::lifecycle::DevicePolicy;
use crate::Settings;
use crate::error::SettingsError;
use crate::settings_error::Problems;
use crate::vars::{self, non_blank};

/// The settings of a [`Device`](crate::Device): its [`Settings`], and what it does after failures.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use hubward::Device;
///
/// let device = Device::from_env()?
///     .cache("/var/lib/acme-pump/assignment")
///     .reprovision_method("reprovision")
///     .on_event(|event| eprintln!("{event}"))
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[non_exhaustive]
#[must_use]
pub struct DeviceSettings {
    /// DPS, the ids, the transports and the options. The device tries [`Settings::credential`] first.
    pub settings: Settings,
    /// The name of [`Settings::credential`] in events and logs. By default, its kind: `primary key` or `certificate`.
    pub credential_name: Option<Arc<str>>,
    /// The credentials that the device tries after [`Settings::credential`] was refused, in this order.
    pub fallbacks: Vec<NamedCredential>,
    /// The file in which the device remembers its hub. With this file, a restarted device connects to its hub without
    /// DPS. The program must be able to create files in the folder. `None` by default: the device registers at each
    /// start.
    ///
    /// The file contains no secret. If it is damaged or belongs to another device, the device renames it and registers.
    pub cache: Option<PathBuf>,
    /// When the device stays with its hub, registers again, and waits.
    pub policy: DevicePolicy,
    /// A preview of the service: DPS and the hub issue certificates to the device. `None` by default: the device uses
    /// its credentials at the hub too.
    pub certificate_issuance: Option<CertificateIssuance>,
    /// Name of a direct method with which an operator makes the device register again. `None` by default: there is no
    /// such method. The device answers 200, and then registers.
    pub reprovision_method: Option<String>,
    on_event: Option<EventHook>,
}

impl DeviceSettings {
    /// Adds the defaults to these settings: no cache, no further credentials, the default policy.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            credential_name: None,
            fallbacks: Vec::new(),
            cache: None,
            policy: DevicePolicy::default(),
            certificate_issuance: None,
            reprovision_method: None,
            on_event: None,
        }
    }

    /// Reads the environment: the variables of [`Settings::from_env`], and
    ///
    /// | variable | meaning |
    /// |---|---|
    /// | `HUBWARD_CACHE_FILE` | [`DeviceSettings::cache`] |
    /// | `HUBWARD_SECONDARY_KEY` | a second symmetric key, base64, which the device tries if the first one is refused |
    ///
    /// # Errors
    /// [`SettingsError`] names every missing and every invalid variable.
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::from_vars(vars::read)
    }

    /// Like [`DeviceSettings::from_env`], but reads each variable with the given function.
    ///
    /// # Errors
    /// [`SettingsError`] names every missing and every invalid variable.
    pub fn from_vars(variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let variable = |name: &str| non_blank(variable(name));
        let mut problems = Problems::default();
        let secondary = variable(vars::SECONDARY_KEY).map(zeroize::Zeroizing::new);
        let secondary = problems.optional(vars::SECONDARY_KEY, secondary, SharedKey::from_base64);
        let settings = problems.absorb(Settings::from_vars(variable));
        let mut device = Self::new(problems.into_result(settings)?);
        device.fallbacks.extend(secondary.map(|it| NamedCredential::new("secondary key", it)));
        device.cache = variable(vars::CACHE_FILE).map(PathBuf::from);
        Ok(device)
    }

    /// Changes [`DeviceSettings::settings`](field@DeviceSettings::settings). `change` gets the current settings,
    /// including those from the environment.
    pub fn settings(mut self, change: impl FnOnce(Settings) -> Settings) -> Self {
        self.settings = change(self.settings);
        self
    }

    /// Sets [`DeviceSettings::credential_name`](field@DeviceSettings::credential_name).
    pub fn credential_name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.credential_name = Some(name.into());
        self
    }

    /// Adds a credential to [`DeviceSettings::fallbacks`].
    pub fn fallback(mut self, credential: impl Into<NamedCredential>) -> Self {
        self.fallbacks.push(credential.into());
        self
    }

    /// Sets [`DeviceSettings::cache`](field@DeviceSettings::cache).
    pub fn cache(mut self, file: impl Into<PathBuf>) -> Self {
        self.cache = Some(file.into());
        self
    }

    /// Sets [`DeviceSettings::policy`](field@DeviceSettings::policy).
    pub fn policy(mut self, policy: DevicePolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets [`DeviceSettings::certificate_issuance`](field@DeviceSettings::certificate_issuance), a preview of the
    /// service.
    pub fn certificate_issuance(mut self, issuance: CertificateIssuance) -> Self {
        self.certificate_issuance = Some(issuance);
        self
    }

    /// Sets [`DeviceSettings::reprovision_method`](field@DeviceSettings::reprovision_method).
    pub fn reprovision_method(mut self, name: impl Into<String>) -> Self {
        self.reprovision_method = Some(name.into());
        self
    }

    /// Calls `hook` with each event, from the start of the device on. `hook` must not block. For a stream of events,
    /// use [`Device::events`](crate::Device::events).
    pub fn on_event(mut self, hook: impl Fn(&DeviceEvent) + Send + Sync + 'static) -> Self {
        self.on_event = Some(Arc::new(hook));
        self
    }

    /// All credentials, in the order in which the device tries them.
    pub(super) fn credentials(&self) -> Credentials {
        let credential = self.settings.credential.clone();
        let first = match &self.credential_name {
            Some(name) => NamedCredential::new(Arc::clone(name), credential),
            None => credential.into(),
        };
        Credentials::of(first, self.fallbacks.iter().cloned())
    }

    pub(super) fn hook(&self) -> Option<EventHook> {
        self.on_event.clone()
    }
}

impl From<Settings> for DeviceSettings {
    fn from(settings: Settings) -> Self {
        Self::new(settings)
    }
}

impl fmt::Debug for DeviceSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceSettings")
            .field("settings", &self.settings)
            .field("credential_name", &self.credential_name)
            .field("fallbacks", &self.fallbacks)
            .field("cache", &self.cache)
            .field("policy", &self.policy)
            .field("certificate_issuance", &self.certificate_issuance)
            .field("reprovision_method", &self.reprovision_method)
            .field("on_event", &self.on_event.as_ref().map(|_| format_args!("..")))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn read(more: &[(&str, &str)]) -> Result<DeviceSettings, SettingsError> {
        let mut all = vec![
            ("PROVISIONING_HOST", "dps.example"),
            ("PROVISIONING_IDSCOPE", "0ne1"),
            ("PROVISIONING_REGISTRATION_ID", "dev-1"),
            ("PROVISIONING_SYMMETRIC_KEY", KEY),
        ];
        all.retain(|(name, _)| !more.iter().any(|(it, _)| it == name));
        all.extend(more);
        DeviceSettings::from_vars(|name| all.iter().find(|(it, _)| *it == name).map(|(_, it)| (*it).to_owned()))
    }

    #[test]
    fn reads_the_cache_and_the_secondary_key() {
        let plain = read(&[]).expect("settings");
        assert_eq!((plain.credentials().count(), plain.cache), (1, None));
        let both = read(&[("HUBWARD_CACHE_FILE", "a.cache"), ("HUBWARD_SECONDARY_KEY", KEY)]).expect("settings");
        assert_eq!((both.credentials().count(), both.cache.clone()), (2, Some("a.cache".into())));
        assert_eq!(&*both.credentials().name(1), "secondary key");
        assert!(!format!("{both:?}").contains("AAEC"), "no key in Debug");
    }

    #[test]
    fn names_the_problems_of_all_variables_at_once() {
        let error = read(&[("HUBWARD_SECONDARY_KEY", "hush"), ("PROVISIONING_IDSCOPE", "")]).expect_err("two problems");
        let text = error.to_string();
        assert!(text.contains("PROVISIONING_IDSCOPE") && text.contains("HUBWARD_SECONDARY_KEY"), "{text}");
        assert!(!text.contains("hush"), "{text}");
    }
}
