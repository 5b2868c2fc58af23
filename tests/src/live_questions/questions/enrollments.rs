//! Questions 4 and 5: which error codes does DPS return for missing enrollments, and for conditions that are not met?

use std::sync::Arc;

use crate::live_questions::asker::{Api, Asker};
use crate::live_questions::cloud::DPS_VERSION;

pub(super) async fn absent(asker: Arc<Asker>) -> Result<(), String> {
    let id = asker.id("none");
    for kind in ["enrollments", "enrollmentGroups", "registrations"] {
        for method in ["GET", "DELETE"] {
            let reply = asker.ask(Api::Dps, method, &format!("/{kind}/{id}?{DPS_VERSION}"), &[], "").await;
            asker.observe_reply(&format!("{method} /{kind}/none"), &reply);
        }
    }
    Ok(())
}

pub(super) async fn conditions(asker: Arc<Asker>) -> Result<(), String> {
    for kind in ["enrollments", "enrollmentGroups"] {
        let path = |id: &str| format!("/{kind}/{id}?{DPS_VERSION}");
        let body = |id: &str| match kind {
            "enrollments" => asker.enrollment_body(id, &asker.key()?, ""),
            _ => asker.group_body(id),
        };
        let (id, free) = (asker.id("a"), asker.id("free"));
        let put = |etag: Option<String>, body: String| {
            let (asker, path) = (asker.clone(), path(&id));
            async move {
                let headers: Vec<_> = etag.as_deref().map(|it| ("If-Match", it)).into_iter().collect();
                asker.ask(Api::Dps, "PUT", &path, &headers, &body).await
            }
        };
        let created = put(None, body(&id)?).await;
        asker.observe_reply(&format!("PUT /{kind}: a free id"), &created);
        let stale = created.json()["etag"].as_str().unwrap_or_default().to_owned();
        asker.observe_reply(&format!("PUT /{kind}: the same id again"), &put(None, body(&id)?).await);
        asker.observe_reply(
            &format!("PUT /{kind}: If-Match with the etag"),
            &put(Some(stale.clone()), body(&id)?).await,
        );
        asker.observe_reply(
            &format!("PUT /{kind}: If-Match with a stale etag"),
            &put(Some(stale.clone()), body(&id)?).await,
        );
        asker.observe_reply(&format!("PUT /{kind}: If-Match *"), &put(Some("*".into()), body(&id)?).await);
        let reply = asker.ask(Api::Dps, "PUT", &path(&free), &[("If-Match", "*")], &body(&free)?).await;
        asker.observe_reply(&format!("PUT /{kind}: If-Match * on a free id"), &reply);
        let reply = asker.ask(Api::Dps, "DELETE", &path(&id), &[("If-Match", &stale)], "").await;
        asker.observe_reply(&format!("DELETE /{kind}: If-Match with a stale etag"), &reply);
    }
    Ok(())
}
