//! A key in a token, and the session in which it signs.

use std::sync::{Mutex, MutexGuard, PoisonError};

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;

use crate::error::{Pkcs11Error, Place, text_of};
use crate::{KeyLocation, module};

/// The kind of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    PrivateKey,
    SecretKey,
}

/// A key in a token. It keeps its session, and opens a new one if the token has closed it.
#[derive(Debug)]
pub(crate) struct TokenKey {
    location: KeyLocation,
    kind: Kind,
    state: Mutex<State>,
    mechanisms: Vec<MechanismType>,
}

/// A session with the key in it.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) session: Session,
    pub(crate) key: ObjectHandle,
    pub(crate) place: Place,
}

#[derive(Debug)]
enum State {
    Open(Opened),
    /// The next signature opens a session.
    Lost,
    /// The token has refused the PIN. Each further attempt could lock the token.
    Locked(Pkcs11Error),
}

impl Kind {
    const fn class(self) -> ObjectClass {
        match self {
            Self::PrivateKey => ObjectClass::PRIVATE_KEY,
            Self::SecretKey => ObjectClass::SECRET_KEY,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::PrivateKey => "private key",
            Self::SecretKey => "secret key",
        }
    }
}

impl TokenKey {
    /// Opens a session, logs in, and finds the key. `check` reads what it needs from the key.
    pub(crate) fn open<T>(
        location: KeyLocation,
        kind: Kind,
        check: impl FnOnce(&Opened) -> Result<T, Pkcs11Error>,
    ) -> Result<(Self, T), Pkcs11Error> {
        let opened = open(&location, kind)?;
        let slot = opened.session.get_session_info().map(|it| it.slot_id());
        let mechanisms = slot.and_then(|slot| load(&location.module)?.get_mechanism_list(slot));
        let mechanisms = mechanisms.map_err(|error| opened.failed(&error))?;
        let checked = check(&opened)?;
        Ok((Self { location, kind, state: Mutex::new(State::Open(opened)), mechanisms }, checked))
    }

    pub(crate) fn location(&self) -> &KeyLocation {
        &self.location
    }

    /// Whether the token has this mechanism.
    pub(crate) fn has(&self, mechanism: MechanismType) -> bool {
        self.mechanisms.contains(&mechanism)
    }

    /// Signs. If the token has closed the session, opens another one and tries once more.
    pub(crate) fn sign(&self, mechanism: &Mechanism<'_>, data: &[u8]) -> Result<Vec<u8>, Pkcs11Error> {
        let mut state = self.state();
        if let State::Open(it) = &*state {
            match it.session.sign(mechanism, it.key, data) {
                Ok(signature) => return Ok(signature),
                Err(error) if is_lost(&error) => *state = State::Lost,
                Err(error) => return Err(it.failed(&error)),
            }
        }
        if let State::Locked(error) = &*state {
            return Err(error.clone());
        }
        match open(&self.location, self.kind) {
            Ok(it) => {
                let result = it.session.sign(mechanism, it.key, data).map_err(|error| it.failed(&error));
                *state = State::Open(it);
                result
            }
            Err(error) => {
                if matches!(error, Pkcs11Error::Login { .. }) {
                    *state = State::Locked(error.clone());
                }
                Err(error)
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic leaves the state as it was before the call.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Opened {
    /// The attributes of an object, as far as the token returns them.
    pub(crate) fn attributes(
        &self,
        object: ObjectHandle,
        kinds: &[AttributeType],
    ) -> Result<Vec<Attribute>, Pkcs11Error> {
        self.session.get_attributes(object, kinds).map_err(|error| self.failed(&error))
    }

    pub(crate) fn failed(&self, error: &Error) -> Pkcs11Error {
        Pkcs11Error::Call { place: self.place.clone(), problem: text_of(error) }
    }

    pub(crate) fn unsupported(&self, problem: impl Into<String>) -> Pkcs11Error {
        Pkcs11Error::UnsupportedKey { place: self.place.clone(), problem: problem.into() }
    }
}

fn load(module: &std::path::Path) -> Result<Pkcs11, Error> {
    module::load(module)
}

fn open(location: &KeyLocation, kind: Kind) -> Result<Opened, Pkcs11Error> {
    let mut place = Place::new(location);
    let module = load(&location.module)
        .map_err(|error| Pkcs11Error::Module { place: place.clone(), problem: text_of(&error) })?;
    let slot = find_token(&module, location, &place)?;
    place.slot = Some(slot.id());
    let failed = |error: &Error| Pkcs11Error::Call { place: place.clone(), problem: text_of(error) };
    let session = module.open_ro_session(slot).map_err(|error| failed(&error))?;
    log_in(&module, &session, slot, location, &place)?;
    let mut template = vec![Attribute::Class(kind.class())];
    template.extend(location.key_label.as_ref().map(|it| Attribute::Label(it.as_bytes().to_vec())));
    template.extend(location.key_id.clone().map(Attribute::Id));
    let keys = session.find_objects(&template).map_err(|error| failed(&error))?;
    match keys[..] {
        [key] => Ok(Opened { session, key, place }),
        [] => Err(Pkcs11Error::NoKey { place, kind: kind.name() }),
        _ => Err(Pkcs11Error::SeveralKeys { place, kind: kind.name() }),
    }
}

fn find_token(module: &Pkcs11, location: &KeyLocation, place: &Place) -> Result<Slot, Pkcs11Error> {
    let failed = |error: Error| Pkcs11Error::Call { place: place.clone(), problem: text_of(&error) };
    let (mut fitting, mut labels) = (Vec::new(), Vec::new());
    for slot in module.get_slots_with_initialized_token().map_err(failed)? {
        let info = module.get_token_info(slot).map_err(failed)?;
        let fits = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|it| it == found.trim_end());
        if fits(&location.token_label, info.label()) && fits(&location.token_serial, info.serial_number()) {
            fitting.push(slot);
        }
        labels.push(format!("`{}`", info.label().trim_end()));
    }
    let found = if labels.is_empty() { "no token".to_owned() } else { labels.join(", ") };
    let place = place.clone();
    match fitting[..] {
        [slot] => Ok(slot),
        [] => Err(Pkcs11Error::NoToken { place, found }),
        _ => Err(Pkcs11Error::SeveralTokens { place, found }),
    }
}

fn log_in(
    module: &Pkcs11,
    session: &Session,
    slot: Slot,
    location: &KeyLocation,
    place: &Place,
) -> Result<(), Pkcs11Error> {
    let token = module
        .get_token_info(slot)
        .map_err(|error| Pkcs11Error::Call { place: place.clone(), problem: text_of(&error) })?;
    if !token.login_required() {
        return Ok(());
    }
    let pin = location.pin.as_ref().map(crate::Pin::auth);
    if pin.is_none() && !token.protected_authentication_path() {
        let problem = "the token needs a PIN, and there is none".to_owned();
        return Err(Pkcs11Error::Login { place: place.clone(), problem });
    }
    match session.login(UserType::User, pin) {
        // A login is valid for all sessions of the program with this token.
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(error) => Err(login_error(place, &error)),
    }
}

/// The error for a failed login: [`Pkcs11Error::Login`] only if another attempt with the same PIN cannot succeed.
fn login_error(place: &Place, error: &Error) -> Pkcs11Error {
    let problem = match error {
        Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _) => "the PIN is wrong",
        Error::Pkcs11(RvError::PinLocked, _) => "the PIN is locked",
        Error::Pkcs11(RvError::PinExpired, _) => "the PIN has expired",
        other => return Pkcs11Error::Call { place: place.clone(), problem: text_of(other) },
    };
    Pkcs11Error::Login { place: place.clone(), problem: problem.to_owned() }
}

/// Whether a new session can help. Modules also return the general errors when a token was replaced or reset.
const fn is_lost(error: &Error) -> bool {
    matches!(
        error,
        Error::Pkcs11(
            RvError::SessionHandleInvalid
                | RvError::SessionClosed
                | RvError::DeviceRemoved
                | RvError::TokenNotPresent
                | RvError::UserNotLoggedIn
                | RvError::KeyHandleInvalid
                | RvError::ObjectHandleInvalid
                | RvError::DeviceError
                | RvError::GeneralError
                | RvError::FunctionFailed
                | RvError::CryptokiNotInitialized,
            _
        )
    )
}

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;

    use super::*;

    #[test]
    fn only_a_refused_pin_is_a_failed_login() {
        let place = Place::new(&KeyLocation::new("module.so"));
        for (code, is_login) in [
            (RvError::PinIncorrect, true),
            (RvError::PinInvalid, true),
            (RvError::PinLenRange, true),
            (RvError::PinLocked, true),
            (RvError::PinExpired, true),
            (RvError::TokenNotPresent, false),
            (RvError::DeviceRemoved, false),
            (RvError::DeviceError, false),
            (RvError::SessionHandleInvalid, false),
            (RvError::GeneralError, false),
        ] {
            let error = login_error(&place, &Error::Pkcs11(code, Function::Login));
            assert_eq!(matches!(error, Pkcs11Error::Login { .. }), is_login, "{code:?}: {error}");
            assert_eq!(matches!(error, Pkcs11Error::Call { .. }), !is_login, "{code:?}: {error}");
        }
    }

    #[test]
    fn a_session_is_lost_after_an_error_that_can_pass() {
        for (code, expected) in [
            (RvError::SessionHandleInvalid, true),
            (RvError::DeviceRemoved, true),
            (RvError::DeviceError, true),
            (RvError::GeneralError, true),
            (RvError::FunctionFailed, true),
            (RvError::CryptokiNotInitialized, true),
            (RvError::MechanismInvalid, false),
            (RvError::KeyFunctionNotPermitted, false),
            (RvError::DataLenRange, false),
        ] {
            assert_eq!(is_lost(&Error::Pkcs11(code, Function::Sign)), expected, "{code:?}");
        }
    }
}
