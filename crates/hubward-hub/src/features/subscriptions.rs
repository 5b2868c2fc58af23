//! The subscriptions of a client. The client requests them on every connection, in a fixed order. If the hub refuses a
//! subscription, the client requests it again later.

use std::collections::BTreeMap;
use std::time::Duration;

use hubward_transport::{Feature, ProtoError, Refusal, Tag, Upstream};
use tokio::time::Instant;

use super::outgoing::Outgoing;
use super::tags::RequestTags;

/// How long the client waits before it requests a subscription again, after a refusal or no response.
///
/// The client repeats the request even after a refusal, because it cannot know whether the refusal is temporary or the
/// hub does not offer the feature.
const RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// The subscriptions of a client, and their state on this connection.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    by_feature: BTreeMap<Feature, SubscriptionState>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum SubscriptionState {
    /// The subscription must be requested.
    Due,
    /// Requested under this tag; requested again at `until`.
    Requested { tag: Tag, until: Instant },
    /// The hub granted it on this connection.
    Active,
    /// The request failed; the client makes it again at `until`. `refusal` is the hub's refusal; `None` if the
    /// connection did not accept the request.
    Refused { until: Instant, refusal: Option<Box<Refusal>> },
}

impl Subscriptions {
    /// Subscribes to a feature from now on.
    pub(crate) fn subscribe(&mut self, feature: Feature) {
        self.by_feature.entry(feature).or_insert(SubscriptionState::Due);
    }

    /// Ends the subscription: the client does not request it again. Sends nothing to the hub, so the hub keeps the
    /// subscription on the current connection.
    pub(crate) fn forget(&mut self, feature: Feature) {
        self.by_feature.remove(&feature);
    }

    /// Whether the hub has granted the subscription on this connection.
    pub(crate) fn is_active(&self, feature: Feature) -> bool {
        self.by_feature.get(&feature) == Some(&SubscriptionState::Active)
    }

    /// Returns the hub's refusal, if the hub's last answer on this connection was a refusal.
    pub(crate) fn refusal(&self, feature: Feature) -> Option<&Refusal> {
        match self.by_feature.get(&feature)? {
            SubscriptionState::Refused { refusal, .. } => refusal.as_deref(),
            _ => None,
        }
    }

    /// Whether the connection could not send the request for the subscription.
    pub(crate) fn is_unsendable(&self, feature: Feature) -> bool {
        matches!(self.by_feature.get(&feature), Some(SubscriptionState::Refused { refusal: None, .. }))
    }

    pub(crate) fn on_ready(&mut self, _now: Instant) {
        self.on_lost();
    }

    pub(crate) fn on_lost(&mut self) {
        self.by_feature.values_mut().for_each(|it| *it = SubscriptionState::Due);
    }

    /// Records that the hub granted a subscription. Returns `true` if the tag belongs to a subscription.
    pub(crate) fn on_done(&mut self, tag: Tag) -> bool {
        self.on_response(tag, SubscriptionState::Active).is_some()
    }

    /// Records that the hub refused a subscription. Returns `true` if the tag belongs to a subscription.
    pub(crate) fn on_refused(&mut self, now: Instant, tag: Tag, refusal: &Refusal) -> bool {
        let refused =
            SubscriptionState::Refused { until: now + RETRY_INTERVAL, refusal: Some(Box::new(refusal.clone())) };
        let feature = self.on_response(tag, refused);
        if let Some(feature) = feature {
            let seconds = RETRY_INTERVAL.as_secs();
            tracing::warn!(%feature, %refusal, "the hub refused a subscription; trying again in {seconds} s");
        }
        feature.is_some()
    }

    /// Records that the connection could not send a subscription. Returns `true` if the tag belongs to a subscription.
    pub(crate) fn on_unsendable(&mut self, now: Instant, tag: Tag, problem: &ProtoError) -> bool {
        let feature = self.on_response(tag, SubscriptionState::Refused { until: now + RETRY_INTERVAL, refusal: None });
        if let Some(feature) = feature {
            tracing::warn!(%feature, %problem, "this connection cannot carry the subscription");
        }
        feature.is_some()
    }

    pub(crate) fn on_time(&mut self, now: Instant) {
        for state in self.by_feature.values_mut() {
            if let SubscriptionState::Refused { until, .. } | SubscriptionState::Requested { until, .. } = state
                && *until <= now
            {
                *state = SubscriptionState::Due;
            }
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let timers = self.by_feature.values().filter_map(|it| match it {
            SubscriptionState::Refused { until, .. } | SubscriptionState::Requested { until, .. } => Some(*until),
            _ => None,
        });
        timers.min()
    }

    /// Returns the next subscription to request; `None` if no subscription is due.
    pub(crate) fn next(&mut self, now: Instant, tags: &mut RequestTags) -> Option<Outgoing> {
        let (feature, state) = self.by_feature.iter_mut().find(|(_, it)| **it == SubscriptionState::Due)?;
        let tag = tags.take();
        *state = SubscriptionState::Requested { tag, until: now + RETRY_INTERVAL };
        Some(Outgoing::Request(tag, Upstream::Subscribe(*feature)))
    }

    fn on_response(&mut self, tag: Tag, new_state: SubscriptionState) -> Option<Feature> {
        let (feature, state) = self
            .by_feature
            .iter_mut()
            .find(|(_, it)| matches!(it, SubscriptionState::Requested { tag: requested, .. } if *requested == tag))?;
        *state = new_state;
        Some(*feature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hubward_transport::{RefusedBy, Stage};

    fn next_request(subscriptions: &mut Subscriptions, now: Instant, tags: &mut RequestTags) -> Option<(Tag, Feature)> {
        match subscriptions.next(now, tags)? {
            Outgoing::Request(tag, Upstream::Subscribe(feature)) => Some((tag, feature)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_subscription_is_requested_once_per_connection_and_again_after_a_refusal() {
        let (mut subscriptions, mut tags, now) = (Subscriptions::default(), RequestTags::default(), Instant::now());
        subscriptions.subscribe(Feature::Methods);
        subscriptions.subscribe(Feature::TwinResponses);
        subscriptions.subscribe(Feature::Methods);
        for _ in 0..2 {
            subscriptions.on_ready(now);
            let (twin, first) = next_request(&mut subscriptions, now, &mut tags).expect("the twin");
            let (methods, second) = next_request(&mut subscriptions, now, &mut tags).expect("methods");
            assert_eq!((first, second), (Feature::TwinResponses, Feature::Methods));
            assert!(next_request(&mut subscriptions, now, &mut tags).is_none());
            assert!(!subscriptions.is_active(Feature::TwinResponses));
            assert!(subscriptions.on_done(twin) && !subscriptions.on_done(twin));
            assert!(subscriptions.is_active(Feature::TwinResponses));

            let refusal = Refusal::new("hub.example:8883".into(), Stage::Subscribe, RefusedBy::Suback);
            assert!(subscriptions.on_refused(now, methods, &refusal));
            assert_eq!(subscriptions.next_deadline(), Some(now + RETRY_INTERVAL));
            subscriptions.on_time(now);
            assert!(next_request(&mut subscriptions, now, &mut tags).is_none());
            subscriptions.on_time(now + RETRY_INTERVAL);
            assert_eq!(next_request(&mut subscriptions, now, &mut tags).map(|it| it.1), Some(Feature::Methods));
            subscriptions.on_lost();
            assert!(!subscriptions.is_active(Feature::TwinResponses));
        }
    }

    #[test]
    fn an_unanswered_subscription_is_requested_again() {
        let (mut subscriptions, mut tags, now) = (Subscriptions::default(), RequestTags::default(), Instant::now());
        subscriptions.subscribe(Feature::Desired);
        let (lost, _) = next_request(&mut subscriptions, now, &mut tags).expect("a request");
        assert_eq!(subscriptions.next_deadline(), Some(now + RETRY_INTERVAL));
        subscriptions.on_time(now + RETRY_INTERVAL);
        let (tag, _) = next_request(&mut subscriptions, now + RETRY_INTERVAL, &mut tags).expect("again");
        assert!(tag != lost && !subscriptions.on_done(lost), "a late answer does not count");
        assert!(subscriptions.on_done(tag) && subscriptions.is_active(Feature::Desired));
        assert_eq!(subscriptions.next_deadline(), None);
    }
}
