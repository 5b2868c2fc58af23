//! The calls of direct methods that wait for a response.

use std::collections::HashMap;

use crate::state::model::MethodOutcomeSender;

/// Maximum number of calls that wait for responses of one device.
///
/// Source: `[guess]`; the service has such a limit (403800), but does not document the number.
const CALLS_MAX: usize = 256;

/// The published calls of a connection that wait for a response.
#[derive(Debug, Default)]
pub(super) struct Calls {
    pub(super) by_id: HashMap<String, MethodOutcomeSender>,
    /// The number of the newest request id.
    number: u64,
}

impl Calls {
    /// Adds a call and returns its request id. If too many calls are waiting, adds nothing and gives `outcome` back as
    /// the error.
    pub(super) fn begin(&mut self, outcome: MethodOutcomeSender) -> Result<String, MethodOutcomeSender> {
        // Removes calls whose callers no longer wait.
        self.by_id.retain(|_, it| !it.is_closed());
        if self.by_id.len() >= CALLS_MAX {
            return Err(outcome);
        }
        let id = self.next_id();
        self.by_id.insert(id.clone(), outcome);
        Ok(id)
    }

    /// Returns the next request id. Each connection counts its calls from 1, in hexadecimal.
    ///
    /// Source: `[seen]` Azure/azure-iot-sdks, issue 999; Azure/azure-iot-sdk-c, issue 616;
    /// MicrosoftDocs/azure-docs, issue 102263, and traces of four other projects, from 2016 to 2024.
    pub(super) fn next_id(&mut self) -> String {
        self.number += 1;
        format!("{:x}", self.number)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn calls_are_bounded_and_removed_when_their_callers_stop_waiting() {
        let mut calls = Calls::default();
        let mut waiting = Vec::new();
        for _ in 0..CALLS_MAX {
            let (answer, answered) = oneshot::channel();
            calls.begin(answer).expect("room");
            waiting.push(answered);
        }
        assert!(calls.begin(oneshot::channel().0).is_err());
        waiting.pop();
        let first = calls.begin(oneshot::channel().0).expect("room again");
        let second = calls.begin(oneshot::channel().0).expect("the caller of the first has stopped waiting");
        assert_ne!(first, second);
    }
}
