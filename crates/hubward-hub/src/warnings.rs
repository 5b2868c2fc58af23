//! The warnings that a hub can cause, apart from those about received messages: each kind has a
//! [`WarningLimit`].

use hubward_transport::WarningLimit;

/// The limits of one client, one for each kind of warning.
#[derive(Debug)]
pub(crate) struct Warnings {
    /// A call is answered without a handler.
    pub(crate) refused_call: WarningLimit,
    /// A handler failed, or returned what cannot be sent.
    pub(crate) failed_method: WarningLimit,
    /// A handler did not return in time.
    pub(crate) overdue_method: WarningLimit,
    /// A connection did not take a reply.
    pub(crate) unsent_reply: WarningLimit,
    /// A change of desired properties cannot be read.
    pub(crate) unreadable_change: WarningLimit,
    /// The twin cannot be read, or fetched.
    pub(crate) unreadable_twin: WarningLimit,
}

impl Default for Warnings {
    fn default() -> Self {
        Self {
            refused_call: WarningLimit::new("a call of a method is refused"),
            failed_method: WarningLimit::new("a method failed"),
            overdue_method: WarningLimit::new("a method takes too long"),
            unsent_reply: WarningLimit::new("a reply could not be sent"),
            unreadable_change: WarningLimit::new("a change of desired properties cannot be read"),
            unreadable_twin: WarningLimit::new("the twin cannot be read or fetched"),
        }
    }
}

impl Warnings {
    /// The client has ended: logs what was suppressed.
    pub(crate) fn finish(&self) {
        let Self { refused_call, failed_method, overdue_method, unsent_reply, unreadable_change, unreadable_twin } =
            self;
        let methods = [refused_call, failed_method, overdue_method, unsent_reply];
        methods.into_iter().chain([unreadable_change, unreadable_twin]).for_each(WarningLimit::finish);
    }
}
