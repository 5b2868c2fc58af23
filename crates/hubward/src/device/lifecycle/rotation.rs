//! The order in which a device tries its credentials.

/// Which credential is in use at one service, and which ones the service has refused.
#[derive(Debug, Clone)]
pub(super) struct Rotation {
    current: usize,
    refused: Vec<bool>,
}

impl Rotation {
    /// Starts with the first of `count` credentials (at least 1).
    pub(super) fn new(count: usize) -> Self {
        Self { current: 0, refused: vec![false; count.max(1)] }
    }

    /// The number of credentials.
    pub(super) fn count(&self) -> usize {
        self.refused.len()
    }

    /// The credential in use.
    pub(super) const fn current(&self) -> usize {
        self.current
    }

    /// Uses this credential, and forgets all refusals.
    pub(super) fn restart(&mut self, credential: usize) {
        self.current = credential;
        self.forget_refusals();
    }

    /// Forgets all refusals, and keeps the credential.
    pub(super) fn forget_refusals(&mut self) {
        self.refused.fill(false);
    }

    /// Marks the credential in use as refused, and uses the next one that is not refused. The order is a circle.
    /// Returns `None` if every credential is refused; then, the credential stays the same.
    pub(super) fn refuse(&mut self) -> Option<usize> {
        self.refused[self.current] = true;
        let count = self.refused.len();
        let next = (1..count).map(|it| (self.current + it) % count).find(|it| !self.refused[*it])?;
        self.current = next;
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_credential_is_tried_once_in_order_from_the_one_in_use() {
        for (count, first, expected) in
            [(1, 0, vec![]), (0, 0, vec![]), (2, 0, vec![1]), (2, 1, vec![0]), (4, 2, vec![3, 0, 1])]
        {
            let mut rotation = Rotation::new(count);
            rotation.restart(first);
            let tried: Vec<usize> = std::iter::from_fn(|| rotation.refuse()).collect();
            assert_eq!(tried, expected, "{count} credentials from {first}");
            assert_eq!(rotation.refuse(), None, "{count} credentials from {first}");
            rotation.forget_refusals();
            assert_eq!(rotation.refuse().is_some(), count > 1, "{count} credentials from {first}");
        }
    }
}
