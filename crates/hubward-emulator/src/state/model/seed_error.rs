//! Errors of seeds.

use super::authorities::AuthorityError;
use super::credential_policies::CredentialPolicyError;
use super::enroll_error::EnrollError;

/// Why a seed cannot be applied.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SeedError {
    /// The seed cannot be parsed.
    #[error("the seed cannot be read at line {line}, column {column}: {what}")]
    Json {
        /// Line, counted from 1.
        line: usize,
        /// Column, counted from 1.
        column: usize,
        /// The cause.
        what: &'static str,
    },
    /// An enrollment, device or record is refused; nothing has been applied.
    #[error("the seed is not valid")]
    Enrollment(#[from] EnrollError),
    /// A CA certificate is refused; nothing has been applied.
    #[error("the seed is not valid")]
    Authority(#[from] AuthorityError),
    /// A credential policy is refused; nothing has been applied.
    #[error("the seed is not valid")]
    CredentialPolicy(#[from] CredentialPolicyError),
}

hubward_proto::debug_as_error_report!(SeedError);
