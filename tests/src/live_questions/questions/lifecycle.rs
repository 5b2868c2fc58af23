//! Question 18: what happens to a module when its device changes, and how many modules can a device have?

use std::sync::Arc;
use std::time::Duration;

use crate::live_questions::asker::{Api, Asker, Device, identity};
use crate::live_questions::cloud::{HUB_VERSION, in_an_hour};
use crate::live_questions::connection::Connection;

/// Maximum time that the question waits for the hub to close a connection.
const ENDS: Duration = Duration::from_secs(30);

/// If a connection is still open after this time, the question assumes that the hub keeps it.
const STAYS: Duration = Duration::from_secs(5);

pub(super) async fn ask(asker: Arc<Asker>) -> Result<(), String> {
    let mut device = asker.device("a").await?;
    let module = asker.module(&device, "m").await?;
    let host = &asker.cloud.hub.host;
    for (name, resource) in [
        ("a module with its device's key, token for the module", format!("{host}/devices/{}/modules/m", device.id)),
        ("a module with its device's key, token for the device", format!("{host}/devices/{}", device.id)),
    ] {
        let mut login = asker.login(&module);
        login.password = Some(asker.cloud.token(&device.key, &resource, None, in_an_hour()));
        let (answer, connection) = Connection::open(&asker, name, &login).await;
        asker.observe(name, answer);
        if let Some(connection) = connection {
            connection.close().await;
        }
    }

    let (mut of_device, mut of_module) = (asker.connect(&device).await?, asker.connect(&module).await?);
    let old = device.clone();
    device.key = asker.key()?;
    put(&asker, &device, "enabled").await?;
    observe_ends(&asker, "the device's keys change", &mut of_device, &mut of_module, STAYS).await;
    observe_login(&asker, "the device's keys change: login with the old key", &old).await;
    observe_login(&asker, "the device's keys change: login with the new key", &device).await;
    observe_login(&asker, "the device's keys change: login of the module", &module).await;

    let (mut of_device, mut of_module) = (asker.connect(&device).await?, asker.connect(&module).await?);
    put(&asker, &device, "disabled").await?;
    observe_ends(&asker, "the device is disabled", &mut of_device, &mut of_module, ENDS).await;
    observe_login(&asker, "the device is disabled: login of the device", &device).await;
    observe_login(&asker, "the device is disabled: login of the module", &module).await;

    put(&asker, &device, "enabled").await?;
    let (mut of_device, mut of_module) = (asker.connect(&device).await?, asker.connect(&module).await?);
    let path = format!("/devices/{}?{HUB_VERSION}", device.id);
    asker.ask(Api::Hub, "DELETE", &path, &[("If-Match", "*")], "").await.expect("deleting the device")?;
    observe_ends(&asker, "the device is deleted", &mut of_device, &mut of_module, ENDS).await;
    observe_login(&asker, "the device is deleted: login of the device", &device).await;
    observe_login(&asker, "the device is deleted: login of the module", &module).await;

    let device = asker.device("full").await?;
    for number in 1..=50 {
        asker.module(&device, &format!("m{number}")).await?;
    }
    let path = format!("/devices/{}/modules/m51?{HUB_VERSION}", device.id);
    let names = format!("\"deviceId\":\"{}\",\"moduleId\":\"m51\"", device.id);
    let body = identity(&names, &asker.key()?, &asker.key()?);
    asker.observe_reply("a 51st module", &asker.ask(Api::Hub, "PUT", &path, &[], &body).await);
    Ok(())
}

async fn put(asker: &Asker, device: &Device, status: &str) -> Result<(), String> {
    let names = format!("\"deviceId\":\"{}\",\"status\":\"{status}\"", device.id);
    let body = identity(&names, &device.key, &asker.key()?);
    let path = format!("/devices/{}?{HUB_VERSION}", device.id);
    asker.ask(Api::Hub, "PUT", &path, &[("If-Match", "*")], &body).await.expect("changing the device").map(drop)
}

async fn observe_ends(asker: &Asker, name: &str, device: &mut Connection, module: &mut Connection, limit: Duration) {
    let (device, module) = tokio::join!(device.is_ended_within(limit), module.is_ended_within(limit));
    let word = |ended| if ended { "ends".to_owned() } else { format!("stays for {} s", limit.as_secs()) };
    asker.observe(format!("{name}: the device's connection"), word(device));
    asker.observe(format!("{name}: the module's connection"), word(module));
}

async fn observe_login(asker: &Asker, name: &str, device: &Device) {
    let (answer, connection) = Connection::open(asker, name, &asker.login(device)).await;
    asker.observe(name, answer);
    if let Some(connection) = connection {
        connection.close().await;
    }
}
