//! The CA certificates of a seed.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::State;
use super::authorities::{AUTHORITIES_MAX, Authority, AuthorityError, new_authority, read};
use super::put::Put;

/// A CA certificate of DPS and the hubs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct SeedAuthority {
    /// The name.
    pub name: String,
    /// The certificate: PEM, or base64 of DER or PEM.
    pub certificate: String,
    /// Whether devices can use the certificate. In the real service, the operator first proves that they hold its key.
    pub is_verified: bool,
    /// The code for the proof, if one was generated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification_code: Option<String>,
}

impl SeedAuthority {
    pub(super) fn of(authority: &Authority) -> Self {
        let Authority { name, certificate, is_verified, verification_code, .. } = authority.clone();
        Self { name, certificate, is_verified, verification_code }
    }
}

/// Checks all CA certificates of a seed, and changes nothing. Returns three values for each certificate: the key, the
/// entry, and whether the entry is created, updated or unchanged when the caller stores it.
pub(super) fn check(
    state: &State,
    authorities: &[SeedAuthority],
    now: SystemTime,
) -> Result<Vec<(String, Authority, Put)>, AuthorityError> {
    let mut checked: Vec<(String, Authority, Put)> = Vec::new();
    for SeedAuthority { name, certificate, is_verified, verification_code } in authorities {
        let certificate = read(name, certificate)?;
        let key = name.to_ascii_lowercase();
        let before = state.authorities.get(&key);
        let authority = Authority {
            verification_code: verification_code.clone(),
            ..new_authority(name, &certificate, *is_verified, before, now)
        };
        let put = match before {
            None => Put::Created,
            Some(before) if is_same(before, &authority) => Put::Unchanged,
            Some(_) => Put::Updated,
        };
        checked.retain(|(other, ..)| *other != key);
        checked.push((key, authority, put));
    }
    let created = checked.iter().filter(|(_, _, put)| *put == Put::Created).count();
    if created > 0 && state.authorities.len() + created > AUTHORITIES_MAX {
        return Err(AuthorityError::TooMany { limit: AUTHORITIES_MAX });
    }
    Ok(checked)
}

/// Whether two entries differ only in their times and ETags.
fn is_same(one: &Authority, other: &Authority) -> bool {
    SeedAuthority::of(one) == SeedAuthority::of(other)
}
