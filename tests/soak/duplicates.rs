//! Two clients with the same identity must detect each other and back off.

use std::time::Duration;

use hubward::error::DisconnectCause;
use hubward::hub::Backoff;
use hubward::{ConnectionState, HubClient, HubOptions};
use hubward_tests::cloud::Cloud;

use super::TRANSPORTS;

/// Waits until a client reports that another client uses its identity. Returns the reported cause.
async fn duplicate_identity(client: HubClient) -> DisconnectCause {
    let mut state = client.state();
    let is_duplicate = |it: &ConnectionState| {
        matches!(it, ConnectionState::Disconnected { cause: DisconnectCause::DuplicateIdentity { .. }, .. })
    };
    match state.wait_for(is_duplicate).await.expect("a running client").clone() {
        ConnectionState::Disconnected { cause, .. } => cause,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clients_with_one_identity_report_it_after_five_takeovers() {
    for kind in TRANSPORTS {
        let cloud = Cloud::start().await;
        let quick = Backoff::new(Duration::from_millis(50), Duration::from_millis(100));
        // The client that first detects the duplicate identity waits for at least 500 ms before it reconnects. Its new
        // connection ends the connection of the other client, which then detects the duplicate identity, too.
        let options = HubOptions::default().backoff(quick).duplicate_wait(Duration::from_millis(500));
        let device = cloud.hub_device("dev-1", kind).options(options);
        let clients = [(); 2].map(|()| device.settings.clone().spawn().expect("a client"));
        let found = clients.clone().map(|it| tokio::spawn(duplicate_identity(it)));
        for task in found {
            let cause = task.await.expect("no panic");
            let DisconnectCause::DuplicateIdentity { takeovers, .. } = cause else { panic!("{kind}: {cause}") };
            // The count may already be higher than five when the task reads it.
            assert!(takeovers >= 5, "{kind}: {takeovers}");
            assert_eq!(cause.fault(), hubward::Fault::Credential);
        }
        drop(clients);
    }
}
