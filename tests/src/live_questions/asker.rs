//! The functions with which a question talks to a cloud: a live service or the emulator. They:
//!
//! * send requests and record each reply;
//! * record observations, so that the run can compare the live service with the emulator;
//! * create what the question needs, and remember it, so that the run can delete it at its end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hubward::SharedKey;
use serde_json::Value;

use super::cleanup::Resource;
use super::cloud::{Cloud, DPS_VERSION, HUB_VERSION, Service, in_an_hour, request_bytes};
use super::connection::{Connection, Login};
use super::http::Reply;
use super::normal::{literal, shape};
use super::record::{Answer, Finding};

/// Asks one question of one cloud.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) cloud: Arc<Cloud>,
    answer: Mutex<Answer>,
}

/// A device or module that this run created.
#[derive(Debug, Clone)]
pub(super) struct Device {
    pub(super) id: String,
    pub(super) module: Option<String>,
    pub(super) key: SharedKey,
}

/// A service API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    Hub,
    Dps,
}

impl Asker {
    pub(super) fn new(cloud: Arc<Cloud>, number: u8, title: &'static str) -> Self {
        Self { cloud, answer: Mutex::new(Answer::new(number, title)) }
    }

    /// The answer so far.
    pub(super) fn answer(&self, stopped: Option<String>) -> Answer {
        let mut answer = self.notes().clone();
        answer.stopped = stopped;
        answer
    }

    fn notes(&self) -> MutexGuard<'_, Answer> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the ID of a resource with this name. The ID also contains the prefix of the run and the number of the
    /// question. So two runs or two questions never use the same ID.
    pub(super) fn id(&self, name: &str) -> String {
        format!("{}-{:02}-{name}", self.cloud.prefix, self.notes().number)
    }

    /// Records an observation of the cloud's behaviour.
    pub(super) fn observe(&self, name: impl Into<String>, what: impl AsRef<str>) {
        let what = self.cloud.names.plain(&self.cloud.mask.apply(what.as_ref()));
        self.notes().observations.push((name.into(), Finding::Seen(what)));
    }

    /// Records that the run skipped the request for this observation, and the reason.
    pub(super) fn not_asked(&self, name: impl Into<String>, reason: impl Into<String>) {
        self.notes().observations.push((name.into(), Finding::NotAsked(reason.into())));
    }

    /// Records a summary of the reply: the status and the error code. If the status is 400 or above, also records the
    /// shape of the body.
    pub(super) fn observe_reply(&self, name: &str, reply: &Reply) {
        self.observe(name, reply.summary());
        if reply.status.is_some_and(|it| it >= 400) {
            self.observe(format!("{name}: shape of the body"), shape(&reply.body));
        }
    }

    /// Removes the secrets from the texts of a request and its answer. Then records the two texts.
    pub(super) fn exchange(&self, request: &str, answer: &str) {
        let (request, answer) = (self.cloud.mask.apply(request), self.cloud.mask.apply(answer));
        self.notes().keep(&request, &answer);
    }

    /// Sends a request with a token of the service's policy.
    pub(super) async fn ask(&self, api: Api, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let token = self.cloud.owner_token(self.service(api));
        self.ask_as(api, method, path, Some(&token), headers, body.as_bytes()).await
    }

    /// Sends a request. If `token` is `None`, the request has no token.
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

    /// Sends a request to any host.
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

    /// Sends a request to the hub, and waits at most `limit` for the answer. If the hub throttles the request, does not
    /// send it again.
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

    /// Creates a device with generated keys.
    pub(super) async fn device(&self, name: &str) -> Result<Device, String> {
        let (id, key) = (self.id(name), self.key()?);
        self.cloud.created.add(Resource::Device(id.clone()));
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

    /// Creates an individual enrollment with generated keys. Returns the primary key.
    pub(super) async fn enrollment(&self, id: &str, more: &str) -> Result<SharedKey, String> {
        let key = self.key()?;
        let body = self.enrollment_body(id, &key, more)?;
        let path = format!("/enrollments/{id}?{DPS_VERSION}");
        self.ask(Api::Dps, "PUT", &path, &[], &body).await.expect(&format!("creating enrollment {id}"))?;
        Ok(key)
    }

    /// Returns the body of an individual enrollment. Adds the enrollment to the resources that the run deletes at the
    /// end.
    pub(super) fn enrollment_body(&self, id: &str, key: &SharedKey, more: &str) -> Result<String, String> {
        self.cloud.created.add(Resource::Enrollment(id.to_owned()));
        Ok(format!("{{\"registrationId\":\"{id}\",\"attestation\":{}{more}}}", attestation(key, &self.key()?)))
    }

    /// Returns the body of an enrollment group. Adds the group to the resources that the run deletes at the end.
    pub(super) fn group_body(&self, id: &str) -> Result<String, String> {
        self.cloud.created.add(Resource::Group(id.to_owned()));
        Ok(format!("{{\"enrollmentGroupId\":\"{id}\",\"attestation\":{}}}", attestation(&self.key()?, &self.key()?)))
    }

    /// Generates a key. The run masks the key in all output.
    pub(super) fn key(&self) -> Result<SharedKey, String> {
        let key = SharedKey::generate().map_err(|error| error.to_string())?;
        self.cloud.mask.learn(&key.expose_base64());
        Ok(key)
    }

    /// The documented login of a device.
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

    /// Connects a device. If the hub refuses the device, returns an error. This error stops the question.
    pub(super) async fn connect(&self, device: &Device) -> Result<Connection, String> {
        let (answer, line) = Connection::open(self, "login", &self.login(device)).await;
        line.ok_or_else(|| format!("the login of {} was answered with {answer}", device.id))
    }

    /// Reads the twin of a device from the service API.
    pub(super) async fn twin(&self, device: &Device) -> Result<Value, String> {
        let path = format!("/twins/{}?{HUB_VERSION}", device.id);
        Ok(self.ask(Api::Hub, "GET", &path, &[], "").await.expect("reading the twin")?.json())
    }

    /// Changes a twin with `PATCH` or `PUT`.
    pub(super) async fn change_twin(&self, method: &str, device: &Device, body: &str) -> Reply {
        let path = format!("/twins/{}?{HUB_VERSION}", device.id);
        self.ask(Api::Hub, method, &path, &[], body).await
    }

    /// Records a body as text. Replaces the parts that differ from run to run.
    pub(super) fn observe_body(&self, name: &str, body: &[u8]) {
        self.observe(name, if body.is_empty() { "empty".into() } else { literal(body) });
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

/// A device or module, with its two keys.
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
