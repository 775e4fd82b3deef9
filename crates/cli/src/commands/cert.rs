//! `strata cert`.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use strata_net::tls::{Authority, Issued, TlsError, TlsFiles, Validity};

use crate::args::{CertCommand, Leaf};
use crate::failure::Failure;
use crate::output::{Answer, Format};

/// Where every machine reaches itself.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// Who may read a file: everybody a certificate, nobody else a key.
const MODE_PUBLIC: u32 = 0o644;
const MODE_SECRET: u32 = 0o600;

impl From<TlsError> for Failure {
    fn from(error: TlsError) -> Failure {
        Failure::new(error.to_string()).hint("`strata cert --help` says how certificates are made")
    }
}

/// Makes a CA or a certificate.
pub fn run(command: &CertCommand, format: Format) -> Result<(), Failure> {
    let answer = match command {
        CertCommand::Ca { dir, cluster, days, force } => make_ca(dir, cluster, *days, *force)?,
        CertCommand::Node { leaf, hosts, only_hosts } => {
            let hosts = if *only_hosts { hosts.clone() } else { with_own_names(hosts) };
            make_leaf(leaf, TlsFiles::of_node(&leaf.dir), |ca, name, validity| ca.node(name, &hosts, validity))?
        }
        CertCommand::Client { leaf } => {
            make_leaf(leaf, TlsFiles::of_client(&leaf.dir), |ca, name, validity| ca.client(name, validity))?
        }
    };
    format.print(&answer)
}

/// A CA, if there is none yet, and a new certificate for all nodes of a demo.
pub fn make_for_demo(directory: &Path) -> Result<(), Failure> {
    const DAYS: u32 = 365;
    if !directory.join(TlsFiles::CA).exists() {
        make_ca(directory, "demo", DAYS * 10, false)?;
    }
    let name = Some("demo".to_owned());
    let leaf = Leaf { dir: directory.to_owned(), from: None, name, days: DAYS, force: true };
    let make = |ca: &Authority, name: &str, validity| ca.node(name, &LOOPBACK.map(str::to_owned), validity);
    make_leaf(&leaf, TlsFiles::of_node(directory), make).map(drop)
}

fn make_ca(directory: &Path, cluster: &str, days: u32, force: bool) -> Result<Answer, Failure> {
    let (_, issued) = Authority::create(cluster, validity(days))?;
    let (certificate, key) = (directory.join(TlsFiles::CA), directory.join(TlsFiles::CA_KEY));
    write_all(&[(&certificate, &issued.certificate, MODE_PUBLIC), (&key, &issued.key, MODE_SECRET)], force)?;
    let (certificate, key, directory) = (certificate.display(), key.display(), directory.display());
    let text = format!(
        "{certificate}   the CA of cluster {cluster}: every node and client needs it\n\
         {key}   its secret: whoever has it can make nodes\n\
         next: strata cert node {directory}"
    );
    Ok(Answer::new(text, json!({ "certificate": certificate.to_string(), "key": key.to_string() })))
}

fn make_leaf(
    leaf: &Leaf,
    files: TlsFiles,
    make: impl FnOnce(&Authority, &str, Validity) -> Result<Issued, TlsError>,
) -> Result<Answer, Failure> {
    let from = leaf.from.as_ref().unwrap_or(&leaf.dir);
    let ca = Issued { certificate: read(&from.join(TlsFiles::CA))?, key: read(&from.join(TlsFiles::CA_KEY))? };
    let name = leaf.name.clone().unwrap_or_else(|| name_of(&leaf.dir));
    let issued = make(&Authority::open(&ca)?, &name, validity(leaf.days))?;
    let mut writes =
        vec![(&files.certificate, &issued.certificate, MODE_PUBLIC), (&files.key, &issued.key, MODE_SECRET)];
    // The same CA twice is no conflict.
    if !std::fs::read_to_string(&files.ca).is_ok_and(|there| there == ca.certificate) {
        writes.push((&files.ca, &ca.certificate, MODE_PUBLIC));
    }
    write_all(&writes, leaf.force)?;
    let (certificate, key) = (files.certificate.display().to_string(), files.key.display().to_string());
    let text = format!("{certificate}   `{name}`, valid for {} days\n{key}   its secret", leaf.days);
    Ok(Answer::new(text, json!({ "certificate": certificate, "key": key, "name": name, "days": leaf.days })))
}

/// All or, when one is there already and nobody insists, none.
fn write_all(writes: &[(&PathBuf, &String, u32)], force: bool) -> Result<(), Failure> {
    if let Some((path, ..)) = writes.iter().find(|(path, ..)| path.exists() && !force) {
        return Err(Failure::new(format!("{} is there already", path.display()))
            .hint("--force replaces it; what the old one signed or opened may then be of no use any more"));
    }
    for (path, text, mode) in writes {
        write(path, text, *mode).map_err(|error| {
            Failure::new(format!("{} cannot be written: {error}", path.display())).hint("check the directory")
        })?;
    }
    Ok(())
}

/// Replaces a file as a whole: a node that reads it meanwhile finds the old one or the new one. The file of a secret is
/// nobody else's from its first moment on.
fn write(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let temporary = path.with_extension("tmp");
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(temporary, path)
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| {
        Failure::new(format!("{} cannot be read: {error}", path.display()))
            .hint("`strata cert ca DIR` makes a CA; --from DIR says where it is")
    })
}

fn validity(days: u32) -> Validity {
    let begin = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Validity { begin, length: Duration::from_secs(u64::from(days) * 24 * 3600) }
}

/// The names that were given, and those that this machine has anyway.
fn with_own_names(hosts: &[String]) -> Vec<String> {
    let mut all = hosts.to_vec();
    all.extend(LOOPBACK.map(str::to_owned));
    all.extend(host_name());
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|host| seen.insert(host.clone()));
    all
}

fn host_name() -> Option<String> {
    let files = ["/proc/sys/kernel/hostname", "/etc/hostname"];
    let name = files.iter().find_map(|file| std::fs::read_to_string(file).ok())?.trim().to_owned();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    (!name.is_empty() && name.chars().all(is_plain)).then_some(name)
}

fn name_of(directory: &Path) -> String {
    let absolute = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    absolute.file_name().map_or_else(|| "node".to_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn leaf(dir: PathBuf, from: &Path) -> Leaf {
        Leaf { dir, from: Some(from.to_owned()), name: None, days: 9, force: false }
    }

    fn node(dir: &Path, from: &Path) -> CertCommand {
        CertCommand::Node { leaf: leaf(dir.to_owned(), from), hosts: vec!["db1".to_owned()], only_hosts: false }
    }

    #[test]
    fn keys_are_secret_and_nothing_is_overwritten_unasked() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let (ca, db1) = (place.path().to_owned(), place.path().join("db1"));
        let make_ca = |force| CertCommand::Ca { dir: ca.clone(), cluster: "prod".to_owned(), days: 9, force };
        run(&make_ca(false), Format::Json).expect("a CA");
        run(&node(&db1, &ca), Format::Json).expect("a node");
        for (file, mode) in [("ca.key", 0o600), ("db1/node.key", 0o600), ("db1/node.crt", 0o644), ("db1/ca.crt", 0o644)]
        {
            let found = std::fs::metadata(ca.join(file)).expect(file).permissions().mode() & 0o777;
            assert_eq!(found, mode, "{file}");
        }
        let before = std::fs::read(db1.join("node.key")).expect("readable");
        let refused = run(&node(&db1, &ca), Format::Json).expect_err("it is there");
        assert!(refused.to_string().contains("node.crt is there already") && refused.to_string().contains("--force"));
        assert!(run(&make_ca(false), Format::Json).is_err());
        assert_eq!(std::fs::read(db1.join("node.key")).expect("readable"), before);
        assert!(!db1.join("ca.key").exists(), "the secret of the CA stays where it is");
        run(&make_ca(true), Format::Json).expect("asked for");
        let refused = run(&node(&place.path().join("db2"), &db1), Format::Json).expect_err("no CA there");
        assert!(refused.to_string().contains("ca.key cannot be read"), "{refused}");
    }

    #[test]
    fn a_node_has_the_names_of_its_machine_once() {
        let names = with_own_names(&["db1".to_owned(), "localhost".to_owned()]);
        assert_eq!(names[..4], ["db1", "localhost", "127.0.0.1", "::1"]);
        assert_eq!(names.iter().filter(|name| *name == "localhost").count(), 1);
    }
}
