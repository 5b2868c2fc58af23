//! Gives the fuzz targets of this repository access to the files of a device. This module is not part of the API. The
//! parsers are private; other code uses them only through a device.

use hubward_transport::{IdScope, RegistrationId, SharedKey};

use crate::device::cache::{Binding, fuzzing};

/// Reads a file of the device `dev-1` with a key of 16 zero bytes, in the id scope `0ne1` at `localhost`, as an
/// assignment cache. Returns the file as this crate writes it again, or `None` if the file cannot be used.
#[must_use]
pub fn assignment_cache(bytes: &[u8]) -> Option<Vec<u8>> {
    fuzzing::assignment_cache(bytes, &binding())
}

/// Reads a file of the same device as a certificate store.
#[must_use]
pub fn certificate_store(bytes: &[u8]) -> Option<Vec<u8>> {
    fuzzing::certificate_store(bytes, &binding())
}

/// Appends the correct checksum to the beginning of a JSON object, up to its last brace. A fuzzer cannot guess it.
#[must_use]
pub fn seal(content: &[u8]) -> Vec<u8> {
    fuzzing::seal(content)
}

fn binding() -> Binding {
    let scope = IdScope::new("0ne1").expect("a valid scope");
    let id = RegistrationId::new("dev-1").expect("a valid id");
    let key = SharedKey::from_bytes(&[0; SharedKey::MIN_LEN]).expect("a valid length");
    Binding::new("localhost", &scope, &id, [&key.into()])
}
