//! A cloud that the run asks: its services, the logins for them, and the way to connect to them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use hubward::{DialOverride, SharedKey};
use hubward_dial::{ByteStream, Dialer as _, Endpoint, TcpDialer, TlsDialer, TlsSettings};
use hubward_sas::{SasToken, UnixSeconds};
use hubward_service::ServiceLogin;
use tokio::sync::{Mutex, Semaphore};

use super::cleanup::CreatedResources;
use super::http::{self, Reply};
use super::mask::Mask;
use super::normal::Names;
use super::time::{Admin, TimeControl};

/// The API version of requests to the hub.
pub(super) const HUB_VERSION: &str = "api-version=2021-04-12";

/// The API version of requests to the service API of DPS.
pub(super) const DPS_VERSION: &str = "api-version=2021-10-01";

/// Pairs of a built-in policy (all except `iothubowner`) and an environment variable. The variable contains the
/// connection string of the policy.
pub(super) const POLICIES: [(&str, &str); 4] = [
    ("service", "IOTHUB_CONNECTION_STRING_SERVICE"),
    ("device", "IOTHUB_CONNECTION_STRING_DEVICE"),
    ("registryRead", "IOTHUB_CONNECTION_STRING_REGISTRYREAD"),
    ("registryReadWrite", "IOTHUB_CONNECTION_STRING_REGISTRYREADWRITE"),
];

/// Maximum number of concurrent TLS handshakes. A higher number would make each handshake slower, and a service drops a
/// handshake that takes too long.
const DIALS: usize = 16;

/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(60);

/// Maximum number of times that the run repeats a throttled request.
const THROTTLED_MAX: usize = 20;

/// A service API, and the policy with which the run uses it.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) host: String,
    pub(super) policy: String,
    pub(super) key: SharedKey,
}

/// A hub and a DPS, which are live or emulated.
#[derive(Debug)]
pub(super) struct Cloud {
    pub(super) hub: Service,
    pub(super) dps: Service,
    /// The host at which devices register.
    pub(super) device_dps: String,
    pub(super) scope: String,
    /// Keys of the hub's other policies.
    pub(super) policies: BTreeMap<&'static str, SharedKey>,
    /// The text with which every ID of this run begins.
    pub(super) prefix: String,
    pub(super) names: Names,
    pub(super) mask: Mask,
    pub(super) created: CreatedResources,
    pub(super) time: TimeControl,
    /// The lock of the exclusive questions. These questions read data of the whole hub or advance the clock, so only
    /// one of them runs at a time.
    pub(super) exclusive: Mutex<()>,
    tls: TlsDialer,
    rules: Vec<DialOverride>,
    /// Limits the number of concurrent TLS handshakes.
    dials: Semaphore,
}

impl Cloud {
    /// Reads the settings from variables. For an emulator, `hubward emulator env` prints these variables. For a live
    /// cloud, the user sets them.
    pub(super) async fn new(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let need = |name: &str| variable(name).filter(|it| !it.is_empty()).ok_or_else(|| format!("{name} is not set"));
        let hub = service("IOTHUB_CONNECTION_STRING", &need("IOTHUB_CONNECTION_STRING")?)?;
        let dps = service("PROVISIONING_CONNECTION_STRING", &need("PROVISIONING_CONNECTION_STRING")?)?;
        let scope = need("PROVISIONING_IDSCOPE")?;
        let device_dps = variable("PROVISIONING_HOST").filter(|it| !it.is_empty());
        let device_dps = device_dps.unwrap_or_else(|| "global.azure-devices-provisioning.net".to_owned());
        let mut trust = TlsSettings::new();
        if let Some(file) = variable("HUBWARD_CA_FILE").filter(|it| !it.is_empty()) {
            trust = trust.ca_file(file);
        }
        let rules = DialOverride::parse_list(&variable("HUBWARD_CONNECT_TO").unwrap_or_default());
        let rules = rules.map_err(|error| format!("HUBWARD_CONNECT_TO: {error}"))?;
        let config = trust.client_config().map_err(|error| format!("HUBWARD_CA_FILE: {error}"))?;
        let tls = TlsDialer::new(TcpDialer::new().dial_overrides(rules.clone()), config);
        let prefix = format!("hwq-{:08x}", fastrand::u32(..));
        let names =
            [(&hub.host, "HOST"), (&dps.host, "HOST"), (&device_dps, "HOST"), (&scope, "SCOPE"), (&prefix, "PREFIX")];
        let names = Names::new(names.map(|(name, placeholder)| (name.clone(), placeholder)));
        let mut cloud = Self {
            hub,
            dps,
            device_dps,
            scope,
            policies: BTreeMap::new(),
            prefix,
            names,
            mask: Mask::default(),
            created: CreatedResources::default(),
            time: TimeControl::Real,
            exclusive: Mutex::new(()),
            tls,
            rules,
            dials: Semaphore::new(DIALS),
        };
        if let Some(url) = variable("HUBWARD_EMULATOR_ADMIN").filter(|it| !it.is_empty() && cloud.is_local()) {
            cloud.time = TimeControl::Clock(Admin::new(&url)?);
        }
        cloud.read_policies(variable).await?;
        let keys = [&cloud.hub.key, &cloud.dps.key].into_iter().chain(cloud.policies.values());
        keys.for_each(|it| cloud.mask.learn(&it.expose_base64()));
        Ok(cloud)
    }

    async fn read_policies(&mut self, variable: impl Fn(&str) -> Option<String>) -> Result<(), String> {
        let known = match &self.time {
            TimeControl::Clock(admin) => admin.ask("GET", "/api/keys", "").await?.json(),
            TimeControl::Real => serde_json::Value::Null,
        };
        for (policy, name) in POLICIES {
            let of_emulator = known["policies"].as_array().into_iter().flatten().find(|it| {
                it["policy"] == policy && it["host"].as_str().is_some_and(|it| it.eq_ignore_ascii_case(&self.hub.host))
            });
            let of_emulator = of_emulator.and_then(|it| it["connectionString"].as_str()).map(str::to_owned);
            let Some(text) = variable(name).filter(|it| !it.is_empty()).or(of_emulator) else { continue };
            let login = service(name, &text)?;
            if login.policy != policy || !login.host.eq_ignore_ascii_case(&self.hub.host) {
                return Err(format!("{name} must be a connection string of policy {policy} of {}", self.hub.host));
            }
            self.policies.insert(policy, login.key);
        }
        Ok(())
    }

    /// Returns `true` if every service runs on this machine.
    pub(super) fn is_local(&self) -> bool {
        [(&self.hub.host, 443), (&self.hub.host, 8883), (&self.dps.host, 443)]
            .into_iter()
            .chain([(&self.device_dps, 443), (&self.device_dps, 8883)])
            .all(|(host, port)| {
                let to = DialOverride::resolve(&self.rules, &Endpoint::new(host.as_str(), port)).host;
                to.eq_ignore_ascii_case("localhost") || to.parse().is_ok_and(|it: IpAddr| it.is_loopback())
            })
    }

    /// Opens a TLS connection.
    pub(super) async fn dial(&self, host: &str, port: u16) -> Result<Box<dyn ByteStream>, String> {
        let _permit = self.dials.acquire().await.map_err(|error| error.to_string())?;
        let to = Endpoint::new(host, port);
        let mut tried = 1;
        loop {
            match self.tls.dial(&to).await {
                Ok(stream) => return Ok(stream),
                Err(error) if tried >= 3 => return Err(format!("cannot connect to {host}:{port}: {error}")),
                Err(_) => tried += 1,
            }
        }
    }

    /// Sends a request and waits for the answer.
    ///
    /// After a 429, waits as long as Retry-After says, at least 1 s and at most 60 s; without a Retry-After, waits 5
    /// s. Then sends the request again, at most [`THROTTLED_MAX`] times.
    pub(super) async fn request(
        &self,
        host: &str,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        body: &[u8],
    ) -> Reply {
        let bytes = request_bytes(host, method, path, headers, body);
        for _ in 0..THROTTLED_MAX {
            let reply = self.exchange(host, &bytes, ANSWER).await;
            if reply.status != Some(429) {
                return reply;
            }
            let wait = reply.header("retry-after").and_then(|it| it.parse().ok()).unwrap_or(5);
            tokio::time::sleep(Duration::from_secs(u64::clamp(wait, 1, 60))).await;
        }
        self.exchange(host, &bytes, ANSWER).await
    }

    /// Sends bytes to the HTTPS port once, and waits for the answer.
    pub(super) async fn exchange(&self, host: &str, bytes: &[u8], limit: Duration) -> Reply {
        match self.dial(host, 443).await {
            Ok(stream) => {
                let reply = http::exchange(stream, bytes, limit).await;
                self.mask.learn_keys(&reply.json());
                reply
            }
            Err(problem) => Reply { no_answer: "no connection", head: problem, ..Reply::default() },
        }
    }

    /// Signs a token. The run masks the token's signature in all output.
    pub(super) fn token(&self, key: &SharedKey, resource: &str, policy: Option<&str>, expiry: UnixSeconds) -> String {
        let token = SasToken::sign(key, resource, expiry, policy).expose().to_owned();
        for field in token.split('&') {
            if let Some((_, signature)) = field.split_once("sig=") {
                self.mask.learn(signature);
            }
        }
        token
    }

    /// Signs a token for a service, with the policy that the run uses.
    pub(super) fn owner_token(&self, service: &Service) -> String {
        self.token(&service.key, &service.host, Some(&service.policy), in_an_hour())
    }
}

/// The bytes of a request.
pub(super) fn request_bytes(host: &str, method: &str, path: &str, headers: &[(&str, String)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: hubward-live-questions\r\n");
    head.push_str("Accept: application/json\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || method != "GET" {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

fn service(name: &str, text: &str) -> Result<Service, String> {
    let login = ServiceLogin::from_connection_string(text).map_err(|error| format!("{name}: {error}"))?;
    let needs_key = || format!("{name} must hold SharedAccessKeyName and SharedAccessKey");
    let (policy, key) = (login.policy_name().ok_or_else(needs_key)?, login.policy_key().ok_or_else(needs_key)?);
    Ok(Service { host: login.host().to_owned(), policy: policy.to_owned(), key: key.clone() })
}

pub(super) fn now() -> UnixSeconds {
    #[expect(clippy::disallowed_methods, reason = "a token expires at a time of day")]
    let now = std::time::SystemTime::now();
    UnixSeconds::from_system_time(now)
}

pub(super) fn in_an_hour() -> UnixSeconds {
    now().saturating_add(Duration::from_secs(3600))
}
