//! Question 6: how do the two service APIs answer a request with an unknown api-version, without an api-version,
//! without Authorization, or with a malformed token?

use std::sync::Arc;

use crate::live_questions::asker::{Api, Asker};
use crate::live_questions::cloud::{DPS_VERSION, HUB_VERSION};
use crate::live_questions::http::Reply;

pub(super) async fn ask(asker: Arc<Asker>) -> Result<(), String> {
    for (api, path, version) in [(Api::Dps, "/enrollments/x", DPS_VERSION), (Api::Hub, "/devices/x", HUB_VERSION)] {
        let at = if api == Api::Dps { "DPS" } else { "hub" };
        let unknown = asker.ask(api, "GET", &format!("{path}?api-version=1999-01-01"), &[], "").await;
        observe(&asker, &format!("{at}: api-version=1999-01-01"), &unknown);
        observe(&asker, &format!("{at}: no api-version"), &asker.ask(api, "GET", path, &[], "").await);
        let anonymous = asker.ask_as(api, "GET", &format!("{path}?{version}"), None, &[], b"").await;
        observe(&asker, &format!("{at}: no Authorization"), &anonymous);
        let broken = "SharedAccessSignature sr=x";
        let broken = asker.ask_as(api, "GET", &format!("{path}?{version}"), Some(broken), &[], b"").await;
        observe(&asker, &format!("{at}: a token that cannot be read"), &broken);
    }
    Ok(())
}

fn observe(asker: &Asker, name: &str, reply: &Reply) {
    asker.observe_reply(name, reply);
    let body = reply.json();
    let text =
        ["message", "Message"].iter().find_map(|it| body[*it].as_str()).map_or_else(|| reply.text(), str::to_owned);
    asker.observe_body(&format!("{name}: text"), text.as_bytes());
}
