//! Loads PKCS#11 modules. A program loads each module once, and never unloads it.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};

/// All modules that this program has loaded. A process can initialize a module only once, so it has one list.
static LOADED: Mutex<Vec<(PathBuf, Pkcs11)>> = Mutex::new(Vec::new());

/// Loads and initializes a module, or returns the loaded one.
pub(crate) fn load(module: &Path) -> Result<Pkcs11, Error> {
    // If the name has no folder, the system searches its library folders.
    let path = module.canonicalize().unwrap_or_else(|_| module.to_owned());
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, it)) = loaded.iter().find(|(it, _)| *it == path) {
        return Ok(it.clone());
    }
    let context = Pkcs11::new(&path)?;
    match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        // Another part of the program uses the module too.
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(error) => return Err(error),
    }
    loaded.push((path, context.clone()));
    Ok(context)
}
