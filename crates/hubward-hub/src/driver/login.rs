//! Makes one attempt to connect: signs a token with the credential, and opens a connection with this token. A device
//! with a certificate has no token.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use hubward_transport::{Credential, HubConnection, HubLogin, SasToken, TransportError, UnixSeconds};
use tokio::time::Instant;

use crate::HubTarget;
use crate::core::TokenLife;

type Work<T> = Pin<Box<dyn Future<Output = Result<T, TransportError>> + Send>>;

/// An attempt to open a connection.
pub(super) type Attempt = Work<Box<dyn HubConnection>>;

/// A function that returns the time of day. Tests use a clock that they can set.
pub(crate) type WallClock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// The age of a token.
///
/// The monotonic clock stops while the machine sleeps, and the wall clock can be set back. So each update reads both
/// clocks, and the age grows by the larger of their two advances.
pub(super) struct Age {
    span: Duration,
    age: Duration,
    updated: (Instant, SystemTime),
}

impl Age {
    /// A token that is signed now.
    pub(super) const fn new(span: Duration, now: Instant, wall: SystemTime) -> Self {
        Self { span, age: Duration::ZERO, updated: (now, wall) }
    }

    /// Updates the age to the times `now` and `wall`. Returns `true` if the token is old: its age is at least 92 % of
    /// its life.
    ///
    /// Normally, no token becomes old: the core's timer renews it when its age is at most 90 % of its life. A token
    /// becomes old only if a clock jumped or stopped, or if connecting took most of the token's life.
    pub(super) fn update(&mut self, now: Instant, wall: SystemTime) -> bool {
        let (then, then_wall) = self.updated;
        let by_wall = wall.duration_since(then_wall).unwrap_or_default();
        self.age = self.age.saturating_add(now.saturating_duration_since(then).max(by_wall));
        self.updated = (now, wall);
        self.age >= self.span.mul_f64(0.92)
    }

    /// When the clocks were last read.
    pub(super) const fn updated(&self) -> Instant {
        self.updated.0
    }

    pub(super) const fn life(&self) -> TokenLife {
        TokenLife { span: self.span, age: self.age }
    }
}

/// Signs a new token and opens a connection with it. If the credential is a certificate, opens the connection without a
/// token.
pub(super) fn attempt(target: HubTarget, life: Duration, wall: WallClock) -> Attempt {
    Box::pin(async move {
        let sas = sign(&target.login, &target.credential, life, &wall).await?;
        target.transport.open(&target.login, sas.as_ref()).await
    })
}

async fn sign(
    login: &HubLogin,
    credential: &Credential,
    life: Duration,
    wall: &WallClock,
) -> Result<Option<SasToken>, TransportError> {
    let expiry = UnixSeconds::from_system_time(wall()).saturating_add(life);
    Ok(credential.token(&login.identity.sas_resource(), expiry, None).await?)
}

/// A renewal in place: signs a token, then sends it to the hub.
pub(super) struct Renewal {
    /// The age of the new token.
    age: Age,
    step: Step,
}

enum Step {
    Signing(Work<SasToken>),
    Telling(SasToken),
}

impl Renewal {
    pub(super) fn new(target: HubTarget, life: Duration, wall: WallClock, now: Instant) -> Self {
        let age = Age::new(life, now, wall());
        let signing = Box::pin(async move {
            // The core renews only a token that the credential can sign again.
            let token = sign(&target.login, &target.credential, life, &wall).await?;
            token.ok_or(TransportError::Unsupported("the credential has no token to renew"))
        });
        Self { age, step: Step::Signing(signing) }
    }

    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut dyn HubConnection,
    ) -> Poll<Result<(), TransportError>> {
        loop {
            match &mut self.step {
                Step::Signing(signing) => self.step = Step::Telling(ready!(signing.as_mut().poll(cx))?),
                Step::Telling(sas) => return connection.poll_renew(cx, sas),
            }
        }
    }

    pub(super) fn into_age(self) -> Age {
        self.age
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ages_by_the_clock_that_advanced_further() {
        // Each pair is one reading: the seconds by which the monotonic clock and the wall clock advanced since the
        // last reading. The token lives 100 s, so it is old after 92 s.
        for (readings, old, what) in [
            (&[(91, 91)][..], false, "both run"),
            (&[(92, 92)], true, "both run"),
            (&[(1, 92)], true, "the machine slept"),
            (&[(1, 10_000_000)], true, "the clock was set forward"),
            (&[(1, -7200), (90, 90)], false, "the clock was set back"),
            (&[(1, -7200), (91, 91)], true, "the clock was set back, and the token ages nevertheless"),
            (&[(1, -7200), (1, 91)], true, "the clock was set back, then the machine slept"),
            (&[(50, 0), (42, 0)], true, "the clock stands still"),
        ] {
            let (start, start_wall) = (Instant::now(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
            let mut age = Age::new(Duration::from_secs(100), start, start_wall);
            let (mut now, mut wall, mut found) = (start, start_wall, false);
            for &(by, by_wall) in readings {
                now += Duration::from_secs(by);
                let shift = Duration::from_secs(i64::unsigned_abs(by_wall));
                wall = if by_wall < 0 { wall - shift } else { wall + shift };
                found = age.update(now, wall);
            }
            assert_eq!(found, old, "{what}");
        }
    }
}
