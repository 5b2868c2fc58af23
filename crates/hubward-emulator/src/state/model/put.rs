//! The effects of storing an object.

/// The effect of storing an enrollment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    Created,
    Updated,
    Unchanged,
}

/// What happens to existing twins, statuses and records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    Keep,
    Replace,
}
