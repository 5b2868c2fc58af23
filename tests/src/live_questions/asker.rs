//! What a question asks with: requests that are recorded, devices that are deleted at the end, and
//! observations that are compared.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hubward::SharedKey;
use serde_json::Value;

use super::cloud::{Cloud, DPS_VERSION, HUB_VERSION, Service, in_an_hour, request_bytes};
use super::http::Reply;
use super::ledger::Thing;
use super::line::{Line, Login};
use super::normal::{literal, shape};
use super::record::{Answer, Finding};

/// One question to one cloud.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) cloud: Arc<Cloud>,
    answer: Mutex<Answer>,
}

/// A device or module of this run.
#[derive(Debug, Clone)]
pub(super) struct Device {
    pub(super) id: String,
    pub(super) module: Option<String>,
    pub(super) key: SharedKey,
}

/// Which service API a request goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    Hub,
    Dps,
}

impl Asker {
    pub(super) fn new(cloud: Arc<Cloud>, number: u8, title: &'static str) -> Self {
        Self { cloud, answer: Mutex::new(Answer::new(number, title)) }
    }

    /// Everything that was found out.
    pub(super) fn answer(&self, stopped: Option<String>) -> Answer {
        let mut answer = self.notes().clone();
        answer.stopped = stopped;
        answer
    }

    fn notes(&self) -> MutexGuard<'_, Answer> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An id of this run and question.
    pub(super) fn id(&self, name: &str) -> String {
        format!("{}-{:02}-{name}", self.cloud.prefix, self.notes().number)
    }

    /// Notes what the cloud did.
    pub(super) fn see(&self, name: impl Into<String>, what: impl AsRef<str>) {
        let what = self.cloud.names.plain(&self.cloud.mask.apply(what.as_ref()));
        self.notes().observations.push((name.into(), Finding::Seen(what)));
    }

    /// Notes why the cloud was not asked.
    pub(super) fn not_asked(&self, name: impl Into<String>, reason: impl Into<String>) {
        self.notes().observations.push((name.into(), Finding::NotAsked(reason.into())));
    }

    /// Notes status and error code, and the shape of a refusal's body.
    pub(super) fn see_reply(&self, name: &str, reply: &Reply) {
        self.see(name, reply.summary());
        if reply.status.is_some_and(|it| it >= 400) {
            self.see(format!("{name}: shape of the body"), shape(&reply.body));
        }
    }

    /// Keeps a request and its answer, without secrets.
    pub(super) fn exchange(&self, request: &str, answer: &str) {
        let (request, answer) = (self.cloud.mask.apply(request), self.cloud.mask.apply(answer));
        self.notes().keep(&request, &answer);
    }

    /// A request with the token of the service's policy.
    pub(super) async fn ask(&self, api: Api, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let token = self.cloud.owner_token(self.service(api));
        self.ask_as(api, method, path, Some(&token), headers, body.as_bytes()).await
    }

    /// A request with this token, or none.
    pub(super) async fn ask_as(
        &self,
        api: Api,
        method: &str,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        let host = self.service(api).host.clone();
        self.ask_at(&host, method, path, token, headers, body).await
    }

    /// A request to any host.
    pub(super) async fn ask_at(
        &self,
        host: &str,
        method: &str,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        let headers = all_headers(token, headers, body);
        let reply = self.cloud.request(host, method, path, &headers, body).await;
        self.keep(&request_bytes(host, method, path, &headers, body), &reply);
        reply
    }

    /// A request to the hub that is sent once, whatever the answer, and waits this long for it.
    pub(super) async fn ask_once(&self, method: &str, path: &str, body: &[u8], limit: Duration) -> Reply {
        let token = self.cloud.owner_token(&self.cloud.hub);
        let headers = all_headers(Some(&token), &[], body);
        let bytes = request_bytes(&self.cloud.hub.host, method, path, &headers, body);
        let reply = self.cloud.exchange(&self.cloud.hub.host, &bytes, limit).await;
        self.keep(&bytes, &reply);
        reply
    }

    fn keep(&self, request: &[u8], reply: &Reply) {
        let request = String::from_utf8_lossy(request);
        let answer = match reply.status {
            Some(_) => format!("{}\r\n\r\n{}", reply.head, reply.text()),
            None => reply.summary(),
        };
        self.exchange(&request, &answer);
    }

    fn service(&self, api: Api) -> &Service {
        match api {
            Api::Hub => &self.cloud.hub,
            Api::Dps => &self.cloud.dps,
        }
    }

    /// Creates a device with keys of its own.
    pub(super) async fn device(&self, name: &str) -> Result<Device, String> {
        let (id, key) = (self.id(name), self.key()?);
        self.cloud.ledger.add(Thing::Device(id.clone()));
        let body = identity(&format!("\"deviceId\":\"{id}\""), &key, &self.key()?);
        let path = format!("/devices/{id}?{HUB_VERSION}");
        self.ask(Api::Hub, "PUT", &path, &[], &body).await.expect(&format!("creating device {id}"))?;
        Ok(Device { id, module: None, key })
    }

    /// Creates a module of a device.
    pub(super) async fn module(&self, device: &Device, name: &str) -> Result<Device, String> {
        let (id, key) = (device.id.clone(), self.key()?);
        let body = identity(&format!("\"deviceId\":\"{id}\",\"moduleId\":\"{name}\""), &key, &self.key()?);
        let path = format!("/devices/{id}/modules/{name}?{HUB_VERSION}");
        self.ask(Api::Hub, "PUT", &path, &[], &body).await.expect(&format!("creating module {id}/{name}"))?;
        Ok(Device { id, module: Some(name.to_owned()), key })
    }

    /// Creates an individual enrollment with keys of its own; gives the first.
    pub(super) async fn enrollment(&self, id: &str, more: &str) -> Result<SharedKey, String> {
        let key = self.key()?;
        let body = self.enrollment_body(id, &key, more)?;
        let path = format!("/enrollments/{id}?{DPS_VERSION}");
        self.ask(Api::Dps, "PUT", &path, &[], &body).await.expect(&format!("creating enrollment {id}"))?;
        Ok(key)
    }

    /// The body of an individual enrollment, which is deleted at the end.
    pub(super) fn enrollment_body(&self, id: &str, key: &SharedKey, more: &str) -> Result<String, String> {
        self.cloud.ledger.add(Thing::Enrollment(id.to_owned()));
        Ok(format!("{{\"registrationId\":\"{id}\",\"attestation\":{}{more}}}", attestation(key, &self.key()?)))
    }

    /// The body of an enrollment group, which is deleted at the end.
    pub(super) fn group_body(&self, id: &str) -> Result<String, String> {
        self.cloud.ledger.add(Thing::Group(id.to_owned()));
        Ok(format!("{{\"enrollmentGroupId\":\"{id}\",\"attestation\":{}}}", attestation(&self.key()?, &self.key()?)))
    }

    /// A new key, which no file shows.
    pub(super) fn key(&self) -> Result<SharedKey, String> {
        let key = SharedKey::generate().map_err(|error| error.to_string())?;
        self.cloud.mask.learn(&key.expose_base64());
        Ok(key)
    }

    /// The login of a device as the documentation shows it.
    pub(super) fn login(&self, device: &Device) -> Login {
        let host = self.cloud.hub.host.clone();
        let (client_id, resource) = match &device.module {
            None => (device.id.clone(), format!("{host}/devices/{}", device.id)),
            Some(module) => {
                (format!("{}/{module}", device.id), format!("{host}/devices/{}/modules/{module}", device.id))
            }
        };
        let username = format!("{host}/{client_id}/?{HUB_VERSION}");
        let password = Some(self.cloud.token(&device.key, &resource, None, in_an_hour()));
        Login { host, client_id, username, password, clean: true }
    }

    /// Connects a device that the question needs.
    pub(super) async fn online(&self, device: &Device) -> Result<Line, String> {
        let (answer, line) = Line::open(self, "login", &self.login(device)).await;
        line.ok_or_else(|| format!("the login of {} was answered with {answer}", device.id))
    }

    /// The twin of a device, as the service API shows it.
    pub(super) async fn twin(&self, device: &Device) -> Result<Value, String> {
        let path = format!("/twins/{}?{HUB_VERSION}", device.id);
        Ok(self.ask(Api::Hub, "GET", &path, &[], "").await.expect("reading the twin")?.json())
    }

    /// Changes a twin, by `PATCH` or `PUT`.
    pub(super) async fn change_twin(&self, method: &str, device: &Device, body: &str) -> Reply {
        let path = format!("/twins/{}?{HUB_VERSION}", device.id);
        self.ask(Api::Hub, method, &path, &[], body).await
    }

    /// Notes a body literally, without what differs from run to run.
    pub(super) fn see_body(&self, name: &str, body: &[u8]) {
        self.see(name, if body.is_empty() { "empty".into() } else { literal(body) });
    }
}

fn all_headers<'a>(token: Option<&str>, headers: &[(&'a str, &str)], body: &[u8]) -> Vec<(&'a str, String)> {
    let mut all: Vec<(&str, String)> = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    all.extend(token.map(|it| ("Authorization", it.to_owned())));
    let has_type = headers.iter().any(|it| it.0.eq_ignore_ascii_case("content-type"));
    if !body.is_empty() && !has_type {
        all.push(("Content-Type", "application/json; charset=utf-8".to_owned()));
    }
    all
}

/// A device or module with two keys.
pub(super) fn identity(names: &str, key: &SharedKey, second: &SharedKey) -> String {
    format!("{{{names},\"authentication\":{{\"type\":\"sas\",\"symmetricKey\":{}}}}}", keys(key, second))
}

fn attestation(key: &SharedKey, second: &SharedKey) -> String {
    format!("{{\"type\":\"symmetricKey\",\"symmetricKey\":{}}}", keys(key, second))
}

pub(super) fn keys(key: &SharedKey, second: &SharedKey) -> String {
    let (key, second) = (key.expose_base64(), second.expose_base64());
    format!("{{\"primaryKey\":\"{}\",\"secondaryKey\":\"{}\"}}", key.as_str(), second.as_str())
}
