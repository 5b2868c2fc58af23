//! Enrollments, groups and registration records.

use hubward_proto::service::{
    AttestationType, BulkMode, EnrollmentBulk, EnrollmentGroup, IndividualEnrollment, ProvisioningStatus,
};
use hubward_service::Fault;
use hubward_tests::cloud::Cloud;

use super::all_dps;

#[tokio::test(flavor = "multi_thread")]
async fn an_enrollment_is_created_updated_and_deleted() {
    let cloud = Cloud::start().await;
    for dps in all_dps(&cloud) {
        let made = dps.create_enrollment(&IndividualEnrollment::new("dev-1")).await.expect("created");
        let keys = made.settings.attestation.and_then(|it| it.symmetric_key).expect("keys in the answer");
        assert!(!keys.primary_key.is_empty() && keys.primary_key != keys.secondary_key);
        let again = dps.create_enrollment(&IndividualEnrollment::new("dev-1")).await.expect_err("it exists");
        assert_eq!((again.refused().map(|it| it.status), again.fault()), (Some(409), Fault::Request), "{again}");

        let mut read = dps.enrollment("dev-1").await.expect("it exists");
        assert_eq!(read.settings.attestation.as_ref().and_then(|it| it.symmetric_key.as_ref()), None);
        let shown = dps.enrollment_attestation("dev-1").await.expect("the keys");
        assert_eq!((shown.kind, shown.symmetric_key), (AttestationType::SymmetricKey, Some(keys)));

        read.settings.provisioning_status = Some(ProvisioningStatus::Disabled);
        let updated = dps.update_enrollment(&read).await.expect("the ETag matches");
        assert!(!updated.settings.is_enabled());
        let stale = dps.update_enrollment(&read).await.expect_err("a stale ETag");
        assert_eq!(stale.refused().map(|it| it.status), Some(412), "{stale}");
        let stale = dps.delete_enrollment("dev-1").if_match(&read.settings.etag.expect("one")).await;
        assert_eq!(stale.expect_err("a stale ETag").refused().map(|it| it.status), Some(412));

        dps.delete_enrollment("dev-1").await.expect("deleted");
        let gone = dps.enrollment("dev-1").await.expect_err("deleted");
        assert!(gone.is_not_found() && gone.refused().is_some_and(|it| it.tracking_id.is_some()), "{gone:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_bulk_requests_and_pages_work() {
    let cloud = Cloud::start().await;
    for dps in all_dps(&cloud) {
        let group = dps.create_group(&EnrollmentGroup::new("line-7")).await.expect("created");
        assert_eq!(dps.group("line-7").await.expect("it exists").settings.etag, group.settings.etag);
        assert!(dps.group_attestation("line-7").await.expect("keys").symmetric_key.is_some());
        assert_eq!(dps.groups().all().await.expect("groups").len(), 1);

        let enrollments = |ids: &[&str]| ids.iter().map(|it| IndividualEnrollment::new(*it)).collect();
        let bulk = EnrollmentBulk { mode: BulkMode::Create, enrollments: enrollments(&["a", "b", "c"]) };
        assert!(dps.bulk_enrollments(&bulk).await.expect("all of them").is_successful);
        let again = dps.bulk_enrollments(&bulk).await.expect("an answer");
        assert_eq!((again.is_successful, again.errors.len()), (false, 3));

        let mut pager = dps.enrollments().page_size(2);
        let mut sizes = Vec::new();
        while let Some(page) = pager.next_page().await.expect("a page") {
            assert_eq!(page.item_type.as_deref(), Some("enrollment"));
            sizes.push(page.items.len());
        }
        assert_eq!(sizes, [2, 1]);
        let some = dps.enrollments().limit(2).verbatim().all().await.expect("two");
        assert!(some.len() == 2 && some[0].get().starts_with('{'), "{some:?}");

        let bulk = EnrollmentBulk { mode: BulkMode::Delete, enrollments: enrollments(&["a", "b", "c"]) };
        assert!(dps.bulk_enrollments(&bulk).await.expect("all of them").is_successful);
        dps.delete_group("line-7").await.expect("deleted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_creates_a_record() {
    let cloud = Cloud::start().await;
    let settings = cloud.device("dev-1");
    settings.provision().await.expect("assigned");
    for dps in all_dps(&cloud) {
        let record = dps.registration("dev-1").await.expect("a record");
        assert_eq!(record.assigned_hub.as_deref(), Some("localhost"));
        let shown = dps.enrollment("dev-1").await.expect("it exists").registration_state.expect("a state");
        assert_eq!(shown.device_id, record.device_id);
    }
    let [dps, other] = all_dps(&cloud);
    dps.delete_registration("dev-1").await.expect("deleted");
    assert!(other.registration("dev-1").await.expect_err("deleted").is_not_found());
}
