//! The warnings that a hub can cause. Each kind has its own [`WarningLimit`], so that the hub cannot fill the log. The
//! limits for warnings about received messages are in the inbox.

use hubward_transport::WarningLimit;

/// The limits of one client's warnings.
#[derive(Debug)]
pub(crate) struct Warnings {
    /// The client answered a call itself, without a handler.
    pub(crate) refused_call: WarningLimit,
    /// A handler failed, or returned an invalid response.
    pub(crate) failed_method: WarningLimit,
    /// A handler did not return in time.
    pub(crate) overdue_method: WarningLimit,
    /// A connection did not accept a reply.
    pub(crate) unsent_reply: WarningLimit,
    /// The client cannot read a change of desired properties.
    pub(crate) unreadable_change: WarningLimit,
    /// The client cannot read or fetch the twin.
    pub(crate) unreadable_twin: WarningLimit,
}

impl Default for Warnings {
    fn default() -> Self {
        Self {
            refused_call: WarningLimit::new("refused a method call"),
            failed_method: WarningLimit::new("a method handler failed"),
            overdue_method: WarningLimit::new("a method handler timed out"),
            unsent_reply: WarningLimit::new("could not send a reply"),
            unreadable_change: WarningLimit::new("cannot read a change of desired properties"),
            unreadable_twin: WarningLimit::new("cannot read or fetch the twin"),
        }
    }
}

impl Warnings {
    /// The client has ended: logs the numbers of suppressed warnings.
    pub(crate) fn finish(&self) {
        let Self { refused_call, failed_method, overdue_method, unsent_reply, unreadable_change, unreadable_twin } =
            self;
        let methods = [refused_call, failed_method, overdue_method, unsent_reply];
        methods.into_iter().chain([unreadable_change, unreadable_twin]).for_each(WarningLimit::finish);
    }
}
