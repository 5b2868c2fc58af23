//! Writes the files of a new certificate, and reports them.

use std::path::{Path, PathBuf};

use hubward_x509::Certificate;
use serde_json::json;

use super::args::{FolderArgs, KeyArgs, file_name};
use super::describe::{aligned, lines, members};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::lab::{Key, chain_pem};
use crate::new_file::{self, Access};
use crate::output::{Event, Output};

/// The files of a new certificate or request.
#[derive(Debug)]
pub(super) struct Files {
    /// The file of the certificate or request.
    pub(super) main: PathBuf,
    /// The file of the new key. `None` if the command creates no key.
    new_key: Option<PathBuf>,
    force: bool,
}

impl Files {
    /// Chooses the paths. Refuses existing files before the command creates anything. `inputs` are the files that the
    /// command reads; it never replaces them.
    pub(super) fn choose(
        common_name: &str,
        extension: &str,
        main: Option<&Path>,
        key: Option<&KeyArgs>,
        folder: &FolderArgs,
        inputs: &[&Path],
    ) -> Result<Self, Failure> {
        let in_folder = |name: String| folder.out_dir.as_ref().map_or_else(|| name.clone().into(), |it| it.join(&name));
        let main = main.map_or_else(|| in_folder(file_name(common_name, extension)), Path::to_owned);
        let new_key = key.filter(|it| it.existing().is_none());
        let new_key = new_key.map(|it| it.key_out.clone().unwrap_or_else(|| in_folder(file_name(common_name, "key"))));
        if new_key.as_ref().is_some_and(|it| it == &main || new_file::is_same(it, &main)) {
            return Err(Failure::usage(format!("{} cannot contain the certificate and the key", main.display()))
                .hint("name two different files"));
        }
        for file in [Some(&main), new_key.as_ref()].into_iter().flatten() {
            if inputs.iter().any(|it| new_file::is_same(file, it)) {
                return Err(Failure::usage(format!("{} is also a file that the command reads", file.display()))
                    .hint("name another file for the output, or another folder with --out-dir"));
            }
            new_file::check(file, folder.force)?;
        }
        if let Some(folder) = &folder.out_dir {
            std::fs::create_dir_all(folder).map_err(|error| {
                Failure::local(format!("the folder {} cannot be created: {error}", folder.display()))
            })?;
        }
        Ok(Self { main, new_key, force: folder.force })
    }

    /// Writes the key, if it is new, and then the certificate or request.
    pub(super) fn write(&self, text: &str, key: &Key, passphrase: Option<&str>) -> Result<(), Failure> {
        if let (Some(file), Some(pem)) = (&self.new_key, key.pem(passphrase)?) {
            new_file::write(file, pem.as_bytes(), Access::Private, self.force)?;
        }
        new_file::write(&self.main, text.as_bytes(), Access::Public, self.force)
    }

    /// The file of the key: the new one, or the one that the user named.
    pub(super) fn key<'a>(&'a self, key: &'a KeyArgs) -> Option<&'a Path> {
        self.new_key.as_deref().or_else(|| key.existing())
    }
}

/// Writes the files of a certificate, and prints the result. `what` says what the certificate is, and `next` lists the
/// lines that the text ends with.
pub(super) async fn finish(
    what: &str,
    chain: &[Certificate],
    files: &Files,
    key: (&Key, &KeyArgs),
    next: &[String],
    output: &Output,
) -> Result<ExitCode, Failure> {
    let (key, key_args) = key;
    let passphrase = key_args.new_passphrase()?;
    files.write(&chain_pem(chain), key, passphrase.as_ref().map(|it| it.as_str()))?;
    let key_file = files.key(key_args);
    report(what, chain, &files.main, key_file, next, output).await
}

/// Prints the result: the files, and the first certificate of the chain.
pub(super) async fn report(
    what: &str,
    chain: &[Certificate],
    file: &Path,
    key_file: Option<&Path>,
    next: &[String],
    output: &Output,
) -> Result<ExitCode, Failure> {
    let certificate = &chain[0];
    if !output.is_text() {
        let facts = json!({
            "certificateFile": file.display().to_string(),
            "keyFile": key_file.map(|it| it.display().to_string()),
            "certificates": chain.len(),
            "certificate": members(certificate),
        });
        output.tell(&Event::Facts(&facts)).await;
        return Ok(ExitCode::Ok);
    }
    let count = if chain.len() == 1 { String::new() } else { format!(" (a chain of {} certificates)", chain.len()) };
    let mut facts = vec![("certificate", format!("{}{count}", file.display()))];
    facts.extend(key_file.map(|it| ("private key", it.display().to_string())));
    facts.extend(lines(certificate));
    let mut text = format!("Created the {what} {}\n{}", certificate.subject_name(), aligned(facts));
    if !next.is_empty() {
        text.push_str("\n\nWhat to do next:\n  ");
        text.push_str(&next.join("\n  "));
    }
    output.line(&text).await;
    Ok(ExitCode::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_never_replaces_an_input_or_the_other_output() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("dev.pem"), "a key").expect("written");
        let out = FolderArgs { out_dir: Some(folder.path().to_owned()), force: true };
        for (main, inputs, is_allowed) in [
            (None, vec![at("dev.pem")], false),
            (None, vec![at("./dev.pem")], false),
            (None, vec![at("other/../dev.pem")], false),
            (Some(at("new.pem")), vec![at("dev.pem")], true),
            (Some(at("new/../dev.pem")), vec![at("dev.pem")], false),
            (None, vec![at("other.pem"), at("third.pem")], true),
        ] {
            let inputs: Vec<_> = inputs.iter().map(PathBuf::as_path).collect();
            let chosen = Files::choose("dev", "pem", main.as_deref(), None, &out, &inputs);
            assert_eq!(chosen.is_ok(), is_allowed, "{main:?} {inputs:?}: {chosen:?}");
        }
        for (one, other, is_same) in [
            ("a.pem", "./a.pem", true),
            ("new/a.pem", "new/b/../a.pem", true),
            ("dev.pem", "./dev.pem", true),
            ("a.pem", "new/a.pem", false),
        ] {
            assert_eq!(new_file::is_same(&at(one), &at(other)), is_same, "{one} {other}");
        }
        assert!(new_file::is_same(Path::new("a.pem"), Path::new("./a.pem")));
    }
}
