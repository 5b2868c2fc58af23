//! The options that two kinds of devices share: devices that register at DPS, and devices with a known hub.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hubward_dial::DialOverride;
use hubward_hub::{HubClient, HubOptions, Unsupported};
use hubward_transport::HubLogin;
use tokio::time::Instant;

use crate::settings_error::Problems;
use crate::vars;

/// The default of [`ConnectOptions::user_agent`].
pub(crate) const USER_AGENT: &str = concat!("hubward/", env!("CARGO_PKG_VERSION"));

/// Maximum timeout. A longer timeout could overflow the clock.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The options that [`Settings`](crate::Settings) and [`HubSettings`](crate::HubSettings) share. Change them with
/// [`Settings::options`](crate::Settings::options()) or [`HubSettings::options`](crate::HubSettings::options()):
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use hubward::{HubOptions, Settings};
///
/// let hub = Settings::from_env()?
///     .options(|it| it.timeout(Duration::from_secs(30)).hub_options(HubOptions::default().window(10)))
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
#[must_use]
pub struct ConnectOptions {
    /// A PEM file of the certificate authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Addresses to connect to instead of the addresses that DNS returns. The client uses the first override that
    /// matches.
    pub dial_overrides: Vec<DialOverride>,
    /// Timeout of `connect`: the maximum time for the registration (if any) and the first connection together.
    /// 2 minutes by default.
    pub timeout: Duration,
    /// Name and version of the program, such as `acme-pump/2.1`, for the services' diagnostics. `hubward/VERSION` by
    /// default, with the version of this crate.
    pub user_agent: String,
    /// The id of the PnP model, which the client sends to the hub, such as `dtmi:com:example:Thermostat;1`.
    pub model_id: Option<String>,
    /// How long the client may send nothing before it sends a ping. 60 s by default, and at least 1 s; see
    /// [`HubLogin::keep_alive`].
    pub keep_alive: Duration,
    /// Window, deadlines, token lifetime and back-off of the hub client.
    pub hub_options: HubOptions,
    before_login: BeforeLogin,
}

impl ConnectOptions {
    /// The default of [`ConnectOptions::timeout`].
    pub const TIMEOUT: Duration = Duration::from_secs(120);

    /// Creates the default options.
    pub fn new() -> Self {
        Self {
            ca_file: None,
            dial_overrides: Vec::new(),
            timeout: Self::TIMEOUT,
            user_agent: USER_AGENT.to_owned(),
            model_id: None,
            keep_alive: HubLogin::KEEP_ALIVE,
            hub_options: HubOptions::default(),
            before_login: BeforeLogin::default(),
        }
    }

    /// Sets [`ConnectOptions::ca_file`].
    pub fn ca_file(mut self, ca_file: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(ca_file.into());
        self
    }

    /// Sets [`ConnectOptions::dial_overrides`].
    pub fn dial_overrides(mut self, dial_overrides: Vec<DialOverride>) -> Self {
        self.dial_overrides = dial_overrides;
        self
    }

    /// Sets [`ConnectOptions::timeout`].
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets [`ConnectOptions::user_agent`].
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = user_agent.into();
        self
    }

    /// Sets [`ConnectOptions::model_id`].
    pub fn model_id(mut self, model_id: impl Into<String>) -> Self {
        self.model_id = Some(model_id.into());
        self
    }

    /// Sets [`ConnectOptions::keep_alive`].
    pub const fn keep_alive(mut self, keep_alive: Duration) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Sets [`ConnectOptions::hub_options`].
    pub fn hub_options(mut self, hub_options: HubOptions) -> Self {
        self.hub_options = hub_options;
        self
    }

    /// Calls `hook` with each new client before the client logs in to the hub. If `hook` returns an error, `connect`
    /// returns this error. `hook` must not block.
    ///
    /// Register the handlers of methods in `hook`. If the device was connected before, the hub may call its methods
    /// immediately after the login.
    ///
    /// ```no_run
    /// use hubward::error::Unsupported;
    /// use hubward::{HubClient, MethodResponse, Settings};
    ///
    /// fn serve_methods(hub: &HubClient) -> Result<(), Unsupported> {
    ///     hub.serve_method("reboot", |_call| async { Ok(MethodResponse::new(202)) })
    /// }
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let hub = Settings::from_env()?.options(|it| it.before_login(serve_methods)).connect().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn before_login(
        mut self,
        hook: impl Fn(&HubClient) -> Result<(), Unsupported> + Send + Sync + 'static,
    ) -> Self {
        self.before_login = BeforeLogin(Some(Arc::new(hook)));
        self
    }

    /// Returns the time at which a `connect` that starts now times out.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.timeout.min(CENTURY)
    }

    /// Reads the environment variables that both kinds of settings share.
    pub(crate) fn read(&mut self, problems: &mut Problems, variable: impl Fn(&str) -> Option<String>) {
        let overrides = problems.optional(vars::CONNECT_TO, variable(vars::CONNECT_TO), DialOverride::parse_list);
        self.dial_overrides = overrides.unwrap_or_default();
        self.ca_file = variable(vars::CA_FILE).map(PathBuf::from);
    }

    /// Calls the function of [`ConnectOptions::before_login`].
    pub(crate) fn prepare(&self, client: &HubClient) -> Result<(), Unsupported> {
        self.before_login.0.as_ref().map_or(Ok(()), |hook| hook(client))
    }
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self::new()
    }
}

type Hook = dyn Fn(&HubClient) -> Result<(), Unsupported> + Send + Sync;

#[derive(Clone, Default)]
struct BeforeLogin(Option<Arc<Hook>>);

impl fmt::Debug for BeforeLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Some(..)" } else { "None" })
    }
}
