//! Private keys and certificates of other programs: OpenSSL as the source of files and as a client, and keys in a
//! PKCS#11 token.

mod encodings;
mod handshake;
mod openssl;
#[cfg(target_os = "linux")]
mod pkcs11;
#[cfg(target_os = "linux")]
mod token;
