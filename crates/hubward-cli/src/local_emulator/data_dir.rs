//! The data directory of an emulator.

use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Returns the absolute path of the data directory.
///
/// The path must be absolute, because hubward prints shell commands that contain it. The user may paste these commands
/// into a shell with another working directory.
pub(crate) fn data_dir(chosen: Option<&Path>) -> Result<PathBuf, Failure> {
    let folder = chosen.map_or_else(default_data_dir, |it| Ok(it.to_owned()))?;
    std::path::absolute(&folder)
        .map_err(|error| Failure::local(format!("the path {} cannot be resolved: {error}", folder.display())))
}

/// Returns a folder of the current user. The folder still exists after a reboot.
fn default_data_dir() -> Result<PathBuf, Failure> {
    let folder = |name: &str| std::env::var_os(name).filter(|it| !it.is_empty()).map(PathBuf::from);
    if let Some(chosen) = folder("HUBWARD_DATA_DIR") {
        return Ok(chosen);
    }
    folder("XDG_DATA_HOME")
        .or_else(|| folder("LOCALAPPDATA"))
        .or_else(|| folder("HOME").map(|home| home.join(".local").join("share")))
        .map(|base| base.join("hubward").join("emulator"))
        .ok_or_else(|| {
            Failure::usage("no default data directory: XDG_DATA_HOME, LOCALAPPDATA and HOME are not set")
                .hint("choose a directory: --data-dir DIR")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_to_paste_work_in_any_folder() {
        let here = std::env::current_dir().expect("the working directory");
        assert_eq!(data_dir(Some(Path::new("cloud"))).ok(), Some(here.join("cloud")));
        let whole = here.join("elsewhere");
        assert_eq!(data_dir(Some(&whole)).ok(), Some(whole));
    }
}
