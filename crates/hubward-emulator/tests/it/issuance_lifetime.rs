//! A year with certificates that are valid for seven days.

use std::time::Duration;

use hubward_emulator::Emulator;

use crate::client::before_pong;
use crate::issuance::{last_refusal, onboard, renew};
use crate::x509_client::{ACCEPTED, NOT_AUTHORIZED};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn a_year_of_renewals() {
    let emulator = Emulator::start().await.expect("started");
    emulator.put_credential_policy("week", 7).expect("valid");
    let device = emulator.enrollment("d1").credential_policy("week").create().expect("valid");
    let mut certificate = onboard(&emulator, "d1", device.primary_key()).await;
    let (mut ahead, mut serials) = (Duration::ZERO, std::collections::BTreeSet::new());
    let first = certificate.leaf.certificate.clone();
    while ahead < 365 * DAY {
        // Renew at 80 % of the validity.
        ahead += 7 * DAY * 4 / 5;
        emulator.clock_ahead(ahead);
        let mut stream = certificate.subscribed(&emulator, "d1").await;
        let renewed = renew(&mut stream, "d1", &format!("renewal-{}", ahead.as_secs())).await;
        assert!(serials.insert(renewed.leaf.certificate.serial_number().to_owned()), "each has its own number");
        assert_eq!(renewed.days(), ahead.as_secs() / DAY.as_secs() + 7);
        certificate = renewed;
    }
    assert_eq!(serials.len(), 66);
    assert!(first.not_after() < certificate.leaf.certificate.not_before());

    // The certificate expires: the open connection continues, and the hub refuses the next one.
    let mut stream = certificate.subscribed(&emulator, "d1").await;
    emulator.clock_ahead(ahead + 8 * DAY);
    assert!(before_pong(&mut stream).await.is_empty(), "it is still connected");
    assert_eq!(certificate.at_hub(&emulator, "d1", true).await.1, NOT_AUTHORIZED);
    assert!(last_refusal(&emulator).contains("has expired"), "{}", last_refusal(&emulator));
    // The bootstrap credential gets another certificate from DPS.
    let certificate = onboard(&emulator, "d1", device.primary_key()).await;
    assert_eq!(certificate.at_hub(&emulator, "d1", true).await.1, ACCEPTED);
}
