//! Two programs with one identity find out, and stop fighting.

use std::time::Duration;

use hubward::error::DisconnectCause;
use hubward::hub::Backoff;
use hubward::{ConnectionState, HubClient, HubOptions};
use hubward_tests::cloud::Cloud;

use super::TRANSPORTS;

/// The suspicion of a client, once it has one.
async fn suspicion(client: HubClient) -> DisconnectCause {
    let mut state = client.state();
    let suspects = |it: &ConnectionState| {
        matches!(it, ConnectionState::Disconnected { cause: DisconnectCause::DuplicateIdentity { .. }, .. })
    };
    match state.wait_for(suspects).await.expect("it lives").clone() {
        ConnectionState::Disconnected { cause, .. } => cause,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clients_with_one_identity_both_say_so_after_five_takeovers() {
    for kind in TRANSPORTS {
        let cloud = Cloud::start().await;
        let quick = Backoff::new(Duration::from_millis(50), Duration::from_millis(100));
        // The first one to know waits; the other one knows when it comes back.
        let options = HubOptions::default().backoff(quick).duplicate_wait(Duration::from_millis(500));
        let device = cloud.known("dev-1", kind).options(options);
        let clients = [(); 2].map(|()| device.settings.clone().spawn().expect("a client"));
        let found = clients.clone().map(|it| tokio::spawn(suspicion(it)));
        for task in found {
            let cause = task.await.expect("no panic");
            let DisconnectCause::DuplicateIdentity { takeovers, .. } = cause else { panic!("{kind}: {cause}") };
            // One who looks late sees a later count.
            assert!(takeovers >= 5, "{kind}: {takeovers}");
            assert_eq!(cause.fault(), hubward::Fault::Credential);
        }
        drop(clients);
    }
}
