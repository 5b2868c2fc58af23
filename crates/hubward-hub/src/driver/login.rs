//! From credential to connection: one attempt, with a token made for it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use hubward_transport::{
    Credential, HubConnection, HubLogin, HubTransport, SasToken, TransportError, UnixSeconds, clock,
};

use crate::client::Shared;

type Work<T> = Pin<Box<dyn Future<Output = Result<T, TransportError>> + Send>>;

/// An attempt to get a connection.
pub(super) type Attempt = Work<(Box<dyn HubConnection>, Token)>;

/// How long a token is good for.
pub(super) struct Token {
    /// `None` if there is no other one to be had.
    pub(super) life: Option<Duration>,
    /// When the wall clock says that it is old. Later than the timer of the core, which comes first
    /// unless the machine slept.
    pub(super) renew_wall: Option<SystemTime>,
}

/// Signs a fresh token, whatever was before, and opens a connection with it.
pub(super) fn attempt(
    transport: Arc<dyn HubTransport>,
    shared: Arc<Shared>,
    credential: Credential,
    life: Duration,
) -> Attempt {
    Box::pin(async move {
        let (sas, token) = sign(&shared.login, &credential, life).await?;
        let connection = transport.open(&shared.login, Some(&sas)).await?;
        Ok((connection, token))
    })
}

async fn sign(login: &HubLogin, credential: &Credential, life: Duration) -> Result<(SasToken, Token), TransportError> {
    let now = clock::now();
    let expiry = UnixSeconds::from_system_time(now).saturating_add(life);
    let sas = credential.token(&login.identity.sas_resource(), expiry, None).await?;
    let token = if credential.is_renewable() {
        Token { life: Some(life), renew_wall: now.checked_add(life.mul_f64(0.92)) }
    } else {
        Token { life: None, renew_wall: None }
    };
    Ok((sas, token))
}

/// A renewal in place: signing, then telling the hub.
pub(super) enum Renewal {
    Signing(Work<(SasToken, Token)>),
    Telling(SasToken, Option<Token>),
}

impl Renewal {
    pub(super) fn new(shared: Arc<Shared>, credential: Credential, life: Duration) -> Self {
        Self::Signing(Box::pin(async move { sign(&shared.login, &credential, life).await }))
    }

    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut dyn HubConnection,
    ) -> Poll<Result<Token, TransportError>> {
        loop {
            match self {
                Self::Signing(signing) => {
                    let (sas, token) = ready!(signing.as_mut().poll(cx))?;
                    *self = Self::Telling(sas, Some(token));
                }
                Self::Telling(sas, token) => {
                    ready!(connection.poll_renew(cx, sas))?;
                    return Poll::Ready(Ok(token.take().unwrap_or(Token { life: None, renew_wall: None })));
                }
            }
        }
    }
}
