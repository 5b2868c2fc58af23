//! Question 2: how does a hub refuse a login, and which requests may a login without api-version send?

use std::sync::Arc;

use hubward_sas::UnixSeconds;

use super::methods::invoke;
use super::reports::report;
use crate::live_questions::asker::Asker;
use crate::live_questions::cloud::{HUB_VERSION, in_an_hour, now};
use crate::live_questions::connection::{Connection, Login};

pub(super) async fn ask(asker: Arc<Asker>) -> Result<(), String> {
    let (device, other) = (asker.device("a").await?, asker.device("b").await?);
    let cloud = &asker.cloud;
    let good = asker.login(&device);
    let resource = format!("{}/devices/{}", cloud.hub.host, device.id);
    let expired = cloud.token(&device.key, &resource, None, UnixSeconds(now().0 - 3600));
    let wrong_key = cloud.token(&asker.key()?, &resource, None, in_an_hour());
    let wrong_resource =
        cloud.token(&device.key, &format!("{}/devices/{}", cloud.hub.host, other.id), None, in_an_hour());
    let with = |password: Option<String>| Login { password, ..good.clone() };
    for (name, login) in [
        ("an expired token", with(Some(expired))),
        ("a token of another key", with(Some(wrong_key))),
        ("a token for another device", with(Some(wrong_resource))),
        ("no password", with(None)),
        ("the client id of another device", Login { client_id: other.id.clone(), ..good.clone() }),
        (
            "a device that does not exist",
            Login {
                client_id: asker.id("none"),
                username: format!("{}/{}/?{HUB_VERSION}", cloud.hub.host, asker.id("none")),
                ..good.clone()
            },
        ),
    ] {
        let (answer, connection) = Connection::open(&asker, name, &login).await;
        asker.observe(name, answer);
        if let Some(connection) = connection {
            connection.close().await;
        }
    }
    let bare = Login { username: format!("{}/{}", cloud.hub.host, device.id), ..good };
    let (answer, connection) = Connection::open(&asker, "user name without api-version", &bare).await;
    asker.observe("a user name without api-version", answer);
    let Some(mut connection) = connection else { return Ok(()) };
    let topic = format!("devices/{}/messages/events/", device.id);
    asker.observe("without api-version: telemetry", connection.publish(&asker, &topic, b"x", 1).await);
    connection.subscribe(&asker, &[("$iothub/twin/res/#", 1)]).await;
    let report = report(&asker, &mut connection, 1, b"{\"a\":1}").await;
    asker.observe("without api-version: a report", report.summary);
    asker.observe(
        "without api-version: SUBSCRIBE to methods",
        connection.subscribe(&asker, &[("$iothub/methods/POST/#", 0)]).await,
    );
    let (reply, received) = tokio::join!(invoke(&asker, &device, "m", "null", 5), async {
        // The device answers immediately. Otherwise the call would wait for its timeout.
        let call = connection.next(&asker, std::time::Duration::from_secs(10)).await?;
        let rid = super::methods::rid(&call.topic);
        connection.publish(&asker, &format!("$iothub/methods/res/200/?$rid={rid}"), b"{}", 0).await;
        Ok::<_, &str>(())
    });
    asker.observe("without api-version: a call reaches the device", if received.is_ok() { "yes" } else { "no" });
    asker.observe("without api-version: the caller", reply.summary());
    Ok(())
}
