//! A token of SoftHSM 2 in a temporary folder, with keys that cannot be exported.
//!
//! SoftHSM finds its folder through a variable of the environment. So each test runs again in a process of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use hubward_pkcs11::{KeyLocation, Pin};

/// The label of the token.
pub(super) const TOKEN: &str = "hubward test";

/// The PIN of the token.
pub(super) const PIN: &str = "4711-canary";

/// The PIN of the security officer, who sets up the token.
const OFFICER_PIN: &str = "0815-officer";

/// Set in the process that uses the token.
const FOLDER: &str = "HUBWARD_TEST_TOKEN";

/// The paths of the module in Debian and in other distributions.
const MODULES: [&str; 4] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

/// The DER of the names of the curves. Source: RFC 5480, section 2.1.1.1.
const P256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
const P384: &[u8] = b"\x06\x05\x2b\x81\x04\x00\x22";
const P521: &[u8] = b"\x06\x05\x2b\x81\x04\x00\x23";

/// A token, and the module to which it belongs.
pub(super) struct Token {
    module: Pkcs11,
    slot: Slot,
}

/// A kind of key that the token generates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    P256,
    P384,
    P521,
    Rsa(u64),
}

/// The path of the module.
///
/// # Panics
/// If SoftHSM 2 is not installed.
pub(super) fn module_path() -> PathBuf {
    let found = MODULES.iter().map(Path::new).find(|it| it.exists());
    found.expect("SoftHSM 2 is missing; install the Debian package softhsm2, as .ci/run does").to_owned()
}

/// Runs `body` with a new token, in a process of its own. `test` is the name of the calling test.
pub(super) fn with_token(test: &str, body: impl FnOnce(&Token)) {
    if std::env::var_os(FOLDER).is_some() {
        return body(&Token::create());
    }
    module_path();
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("tokens")).expect("a folder");
    let configuration = format!("directories.tokendir = {}\n", folder.path().join("tokens").display());
    std::fs::write(folder.path().join("softhsm2.conf"), configuration).expect("a file");
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", test, "--nocapture"]).stdin(Stdio::null());
    command.env(FOLDER, folder.path()).env("SOFTHSM2_CONF", folder.path().join("softhsm2.conf"));
    let output = command.output().expect("this program runs again");
    let (out, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{test}: {}\n{out}\n{log}", output.status);
    assert!(out.contains("1 passed"), "{test} is the name of no test: {out}");
}

impl Token {
    fn create() -> Self {
        let module = Pkcs11::new(module_path()).expect("the module");
        module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).expect("the module starts");
        let this = Self { slot: module.get_slots_with_token().expect("slots")[0], module };
        this.initialize_token(TOKEN)
    }

    /// Sets up the token in the free slot that SoftHSM always has.
    fn initialize_token(self, label: &str) -> Self {
        let officer = AuthPin::new(OFFICER_PIN.into());
        self.module.init_token(self.slot, &officer, label).expect("a token");
        let is_it = |slot: &Slot| self.module.get_token_info(*slot).expect("a token").label() == label;
        let slots = self.module.get_slots_with_initialized_token().expect("slots");
        let slot = slots.into_iter().find(is_it).expect("the token");
        let session = self.module.open_rw_session(slot).expect("a session");
        session.login(UserType::So, Some(&officer)).expect("the officer");
        session.init_pin(&AuthPin::new(PIN.into())).expect("a PIN");
        Self { slot, ..self }
    }

    /// Sets up a second token with the same label.
    pub(super) fn twin(&self) -> Self {
        let all = self.module.get_slots_with_token().expect("slots");
        let known = self.module.get_slots_with_initialized_token().expect("slots");
        let free = all.into_iter().find(|it| !known.contains(it)).expect("a free slot");
        let officer = AuthPin::new(OFFICER_PIN.into());
        self.module.init_token(free, &officer, TOKEN).expect("a token");
        Self { module: self.module.clone(), slot: free }
    }

    pub(super) fn serial(&self) -> String {
        self.module.get_token_info(self.slot).expect("a token").serial_number().to_owned()
    }

    pub(super) fn slot(&self) -> u64 {
        self.slot.id()
    }

    /// A session in which the user is logged in.
    pub(super) fn session(&self) -> Session {
        let session = self.module.open_rw_session(self.slot).expect("a session");
        // The login belongs to the process.
        let _ = session.login(UserType::User, Some(&AuthPin::new(PIN.into())));
        session
    }

    /// Generates a key that cannot be exported. Returns its private part.
    pub(super) fn generate(&self, session: &Session, kind: Kind, label: &str, id: u8) -> ObjectHandle {
        let name = [Attribute::Token(true), Attribute::Label(label.into()), Attribute::Id(vec![id])];
        let mut public = vec![Attribute::Private(false), Attribute::Verify(true)];
        let mechanism = match kind {
            Kind::Rsa(bits) => {
                public.push(Attribute::ModulusBits(bits.into()));
                public.push(Attribute::PublicExponent(vec![1, 0, 1]));
                Mechanism::RsaPkcsKeyPairGen
            }
            Kind::P256 | Kind::P384 | Kind::P521 => {
                let curve = match kind {
                    Kind::P384 => P384,
                    Kind::P521 => P521,
                    _ => P256,
                };
                public.push(Attribute::EcParams(curve.to_vec()));
                Mechanism::EccKeyPairGen
            }
        };
        let mut private = vec![
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
        ];
        public.extend(name.clone());
        private.extend(name);
        let (_, private) = session.generate_key_pair(&mechanism, &public, &private).expect("a key");
        private
    }

    /// Stores a symmetric key, which cannot be exported.
    pub(super) fn store_secret(&self, session: &Session, label: &str, secret: &[u8]) {
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::GENERIC_SECRET),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
            Attribute::Label(label.into()),
            Attribute::Value(secret.to_vec()),
        ];
        session.create_object(&template).expect("a secret key");
    }

    /// Whether the token shows the secret part of a private key.
    pub(super) fn is_exportable(session: &Session, key: ObjectHandle) -> bool {
        let secrets = [AttributeType::Value, AttributeType::PrivateExponent, AttributeType::Prime1];
        !session.get_attributes(key, &secrets).expect("attributes").is_empty()
    }

    /// The location of a key of this token.
    pub(super) fn location(&self, label: &str) -> KeyLocation {
        KeyLocation::new(module_path()).token_label(TOKEN).key_label(label).pin(Pin::new(PIN))
    }
}
