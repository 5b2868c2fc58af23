//! Question 1: does a service refuse a filter with SUBACK 0x80, or does it close the connection?

use std::sync::Arc;

use super::registrations::login_at_dps;
use crate::live_questions::asker::Asker;
use crate::live_questions::connection::{Connection, Login};

const METHODS: &str = "$iothub/methods/POST/#";
const RESPONSES: &str = "$iothub/twin/res/#";
const DESIRED: &str = "$iothub/twin/PATCH/properties/desired/#";

pub(super) async fn ask(asker: Arc<Asker>) -> Result<(), String> {
    let device = asker.device("a").await?;
    let messages = format!("devices/{}/messages/devicebound/#", device.id);
    let more = ["$iothub/methods/POST/a/#", "$iothub/twin/PATCH/properties/desired/a/#"];
    let six = [messages.as_str(), METHODS, RESPONSES, DESIRED, more[0], more[1]].map(|it| (it, 1));
    let login = asker.login(&device);
    subscribe(&asker, &login, "a filter that no hub documents", &[("foo/#", 0)]).await?;
    subscribe(&asker, &login, "six permitted filters at once", &six).await?;
    subscribe(&asker, &login, "a permitted filter beside an unknown one", &[(METHODS, 1), ("foo/#", 1)]).await?;
    subscribe(&asker, &login, "quality of service 2", &[(METHODS, 2)]).await?;

    let id = asker.id("dps");
    let key = asker.enrollment(&id, "").await?;
    let login = login_at_dps(&asker, &id, &key);
    subscribe(&asker, &login, "at DPS: its own filter", &[("$dps/registrations/res/#", 1)]).await?;
    subscribe(&asker, &login, "at DPS: a filter of a hub", &[(RESPONSES, 1)]).await?;
    subscribe(&asker, &login, "at DPS: any filter", &[("foo/#", 1)]).await
}

async fn subscribe(asker: &Asker, login: &Login, name: &str, filters: &[(&str, u8)]) -> Result<(), String> {
    let (answer, connection) = Connection::open(asker, name, login).await;
    let mut connection = connection.ok_or_else(|| format!("{name}: the login was answered with {answer}"))?;
    asker.observe(name, connection.subscribe(asker, filters).await);
    asker.observe(format!("{name}: the connection afterwards"), connection.ping().await);
    connection.close().await;
    Ok(())
}
