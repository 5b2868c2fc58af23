use std::path::PathBuf;

use super::{Inputs, Kind};

pub(crate) const KIND: Kind = Kind { name: "npm", build, test };

fn build(_inputs: &Inputs<'_>) -> Result<Vec<PathBuf>, String> {
    Ok(Vec::new())
}

fn test(_inputs: &Inputs<'_>, _packages: &[PathBuf]) -> Result<(), String> {
    Ok(())
}
