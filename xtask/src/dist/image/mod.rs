//! Builds the OCI image of the emulator. The image has no base image: it contains only the program, its libraries, and
//! the certificate authorities.
//!
//! tar, gzip and sha256sum write the image, so the build needs no container engine. The result is a tar archive with an
//! OCI layout. Not every version of `docker load` reads an OCI layout, so the archive also contains the file
//! `manifest.json`, which every version reads.

mod config;
mod container;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::{Inputs, Kind, licences, tools};
use config::{DATA, PROGRAM, USER};

pub(super) const KIND: Kind = Kind { name: "image", build, test: container::test };

/// The name of the image in the archive.
const NAME: &str = "hubward-emulator";

/// The folder with the certificate authorities of Debian's package ca-certificates. It does not contain authorities
/// that a user of this machine has added.
const AUTHORITIES: &str = "/usr/share/ca-certificates/mozilla";

/// The folder of the layout in the scratch folder.
const LAYOUT: &str = "layout";

fn build(inputs: &Inputs<'_>) -> Result<Vec<PathBuf>, String> {
    let (tree, layout) = (inputs.scratch.join("tree"), inputs.scratch.join(LAYOUT));
    let epoch = tools::source_date()?;
    root_file_system(inputs.binary, &tree)?;
    let layer = inputs.scratch.join("layer.tar");
    write_layer(inputs.scratch, &tree, &layer, &epoch)?;
    // The image needs two digests of the layer: its configuration names the digest before the compression, and its
    // manifest names the digest after the compression.
    let difference = digest(&layer)?;
    tools::run(Command::new("gzip").args(["-9", "-n", "--"]).arg(&layer))?;
    let layer = add_blob(&layout, &inputs.scratch.join("layer.tar.gz"))?;

    let created = tools::text(Command::new("date").args(["--utc", "--date", &format!("@{epoch}"), "+%FT%TZ"]))?;
    let config = config::config(inputs.version, created.trim(), &difference);
    let config = add_json(inputs.scratch, &layout, &config)?;
    write_index(inputs, &layout, &config, &layer)?;

    let archive = inputs.out.join(format!("{NAME}_{}_{}.oci.tar", inputs.version, config::architecture()));
    archive_layout(&layout, &archive, &epoch)?;
    Ok(vec![archive])
}

/// Makes the files of the image, except the data directory.
fn root_file_system(binary: &Path, tree: &Path) -> Result<(), String> {
    tools::install(binary, &inside(tree, PROGRAM), 0o755)?;
    for library in libraries(binary)? {
        tools::install(Path::new(&library), &inside(tree, &library), 0o755)?;
    }
    let names = tools::file_names(Path::new(AUTHORITIES))
        .map_err(|problem| format!("{problem}; install the Debian package ca-certificates"))?;
    let mut authorities = String::new();
    for name in names.iter().filter(|it| it.extension().is_some_and(|it| it == "crt")) {
        authorities += &tools::read(&Path::new(AUTHORITIES).join(name))?;
    }
    tools::install_bytes(authorities.as_bytes(), &inside(tree, "/etc/ssl/certs/ca-certificates.crt"), 0o644)?;
    let licences = inside(tree, "/usr/share/doc/hubward/THIRD-PARTY-LICENSES.txt");
    tools::install_bytes(licences::text()?.as_bytes(), &licences, 0o644)?;
    for package in ["libc6", "libgcc-s1", "ca-certificates"] {
        let file = format!("/usr/share/doc/{package}/copyright");
        if Path::new(&file).is_file() {
            tools::install(Path::new(&file), &inside(tree, &file), 0o644)?;
        }
    }
    tools::run(Command::new("chmod").arg("-R").arg("u=rwX,go=rX").arg(tree))
}

/// Returns the paths of the libraries that the program loads, and the path of the loader. A statically linked program
/// needs no libraries and no loader, so the list is then empty.
fn libraries(binary: &Path) -> Result<Vec<String>, String> {
    let ended = tools::outcome(Command::new("ldd").arg(binary))?;
    let printed = String::from_utf8_lossy(&ended.stdout).into_owned();
    if ended.status.success() {
        return library_paths(&printed);
    }
    let problem = String::from_utf8_lossy(&ended.stderr).into_owned();
    if problem.contains("not a dynamic executable") { Ok(Vec::new()) } else { Err(format!("ldd: {problem}{printed}")) }
}

/// Reads the paths in the output of ldd, from lines such as `libc.so.6 => /lib/libc.so.6 (0x7f…)` and
/// `/lib64/ld.so.2 (0x7f…)`. Skips the line of `linux-vdso`: the kernel provides this library, and it has no path.
fn library_paths(printed: &str) -> Result<Vec<String>, String> {
    let mut paths = Vec::new();
    for line in printed.lines().map(str::trim).filter(|it| !it.starts_with("linux-vdso")) {
        let path = line.split_once(" => ").map_or(line, |(_, path)| path);
        match path.split(" (").next() {
            Some("statically linked") => {}
            Some(path) if path.starts_with('/') => paths.push(path.to_owned()),
            _ => return Err(format!("ldd does not find a library of the program: {line}")),
        }
    }
    Ok(paths)
}

/// Writes the layer: the files of the image in one tar archive. The files belong to root, except the data directory,
/// which belongs to the user of the emulator.
fn write_layer(scratch: &Path, tree: &Path, layer: &Path, epoch: &str) -> Result<(), String> {
    let tar = |operation: &str, folder: &Path, owner: &str, more: &[&str]| {
        let mut tar = Command::new("tar");
        tar.args(["--format=gnu", "--sort=name", "--numeric-owner"]).arg(format!("--mtime=@{epoch}"));
        tar.args([format!("--owner={owner}"), format!("--group={owner}")]).args(more);
        tar.arg(operation).arg("--file").arg(layer).arg("--directory").arg(folder);
        tar
    };
    tools::run(tar("--create", tree, "0", &[]).args(tools::file_names(tree)?))?;
    let data = scratch.join("data-tree");
    tools::make_folder(&inside(&data, DATA))?;
    tools::run(tar("--append", &data, USER, &["--mode=0700"]).arg(DATA.trim_start_matches('/')))?;
    // A program may need a folder for temporary files.
    let temporary = scratch.join("temporary-tree");
    tools::make_folder(&temporary.join("tmp"))?;
    tools::run(tar("--append", &temporary, "0", &["--mode=1777"]).arg("tmp"))
}

/// A file of the OCI layout, by its digest and its size in bytes.
#[derive(Debug)]
struct Blob {
    digest: String,
    size: u64,
}

impl Blob {
    fn describe(&self, media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": self.digest, "size": self.size})
    }

    /// The path in the layout.
    fn path(&self) -> String {
        format!("blobs/{}", self.digest.replace(':', "/"))
    }
}

/// Writes `index.json`, the manifest, `oci-layout`, and `manifest.json` for Docker.
fn write_index(inputs: &Inputs<'_>, layout: &Path, config: &Blob, layer: &Blob) -> Result<(), String> {
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config.describe("application/vnd.oci.image.config.v1+json"),
        "layers": [layer.describe("application/vnd.oci.image.layer.v1.tar+gzip")],
    });
    let manifest = add_json(inputs.scratch, layout, &manifest)?;
    let mut described = manifest.describe("application/vnd.oci.image.manifest.v1+json");
    described["annotations"] = json!({
        "org.opencontainers.image.ref.name": inputs.version,
        "io.containerd.image.name": format!("docker.io/library/{NAME}:{}", inputs.version),
    });
    described["platform"] = json!({"os": "linux", "architecture": config::architecture()});
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [described],
    });
    let docker = json!([{
        "Config": config.path(),
        "RepoTags": [format!("{NAME}:{}", inputs.version)],
        "Layers": [layer.path()],
    }]);
    tools::write(&layout.join("index.json"), index.to_string())?;
    tools::write(&layout.join("manifest.json"), docker.to_string())?;
    tools::write(&layout.join("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}).to_string())
}

/// Adds a JSON document to the layout.
fn add_json(scratch: &Path, layout: &Path, value: &Value) -> Result<Blob, String> {
    let file = scratch.join("blob.json");
    tools::write(&file, value.to_string())?;
    add_blob(layout, &file)
}

/// Adds a file to the layout. The digest becomes its name.
fn add_blob(layout: &Path, file: &Path) -> Result<Blob, String> {
    let size = file.metadata().map_err(|error| format!("cannot read {}: {error}", file.display()))?.len();
    let blob = Blob { digest: digest(file)?, size };
    tools::install(file, &layout.join(blob.path()), 0o644)?;
    Ok(blob)
}

/// The digest of a file, as OCI writes it: `sha256:` and hexadecimal digits.
fn digest(file: &Path) -> Result<String, String> {
    let printed = tools::text(Command::new("sha256sum").arg("--").arg(file))?;
    let digits = printed.trim_start_matches('\\').split_whitespace().next().unwrap_or_default();
    Ok(format!("sha256:{digits}"))
}

fn archive_layout(layout: &Path, archive: &Path, epoch: &str) -> Result<(), String> {
    let mut tar = Command::new("tar");
    tar.args(["--create", "--format=gnu", "--sort=name", "--numeric-owner", "--owner=0", "--group=0"]);
    tar.args(["--mode=u=rwX,go=rX".to_owned(), format!("--mtime=@{epoch}")]);
    tar.arg("--file").arg(archive).arg("--directory").arg(layout);
    // Docker and podman look for the small files first.
    tools::run(tar.args(["oci-layout", "index.json", "manifest.json", "blobs"]))
}

/// The place of an absolute path below a folder.
fn inside(folder: &Path, path: &str) -> PathBuf {
    folder.join(path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_output_of_ldd() {
        let printed = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x2)\n\t/lib64/ld.so.2 (0x3)\n";
        assert_eq!(library_paths(printed).expect("valid"), ["/lib/x/libc.so.6", "/lib64/ld.so.2"]);
        assert_eq!(library_paths("\tstatically linked\n").expect("valid"), Vec::<String>::new());
        let problem = library_paths("\tlibz.so.1 => not found\n").expect_err("a library is missing");
        assert!(problem.contains("libz.so.1"), "{problem}");
    }
}
