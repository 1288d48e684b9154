//! `mcp-bridge store own-directory`, which the package calls when it is upgraded: earlier
//! releases opened the machine's directory of stores to a group, and made every program
//! open the store's file. Now it is its daemon's own; a store that the Python bridge
//! shares stays as it is.

use std::fs::{File, Metadata, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use clap::Args;
use rustix::fs::{Gid, Uid, fchown};

use crate::cli::holders::{self, Holder};
use crate::cli::machine_store::{self, DIRECTORY, DROP_IN, TMPFILES};
use crate::cli::output::{print, printable};
use crate::exit::Exit;
use crate::guarded;
use crate::store::sqlite::{self, Kind};

/// Makes a directory its owner's alone.
#[derive(Debug, Args)]
pub(in crate::cli) struct OwnDirectoryArgs {
    /// Where the machine's configuration is
    #[arg(long, default_value = "/etc")]
    etc: PathBuf,
    /// The directory
    #[arg(default_value = DIRECTORY)]
    directory: PathBuf,
}

/// Everything that is not its owner's.
const OTHERS: u32 = 0o077;

pub(super) fn run(args: &OwnDirectoryArgs) -> anyhow::Result<Exit> {
    let directory = &args.directory;
    let Ok(meta) = std::fs::symlink_metadata(directory) else {
        return Ok(Exit::Success);
    };
    if !meta.is_dir() || meta.mode() & OTHERS == 0 {
        return Ok(Exit::Success);
    }
    let place = directory.display();
    if let Some(by) = machine_store::opened_by(&args.etc) {
        keep_open(&args.etc)?;
        print(&format!(
            "mcp-bridge: {place} stays open to its group ({:o}), as {} says\n",
            meta.mode() & 0o7777,
            by.display(),
        ))?;
        return Ok(Exit::Success);
    }
    let mut said = String::new();
    let files = files(directory)?;
    let shared = files.iter().find(|path| is_shared(path, &mut said));
    match shared {
        Some(store) => {
            keep_open(&args.etc)?;
            said.push_str(&kept(store, &args.etc, &meta));
        }
        None => said.push_str(&close(directory, &files)?),
    }
    print(&said)?;
    Ok(Exit::Success)
}

/// The regular files in it; never a link's target.
fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Whether it is a store that the Python bridge may be writing. One that cannot be asked
/// is named, and taken for one of ours.
fn is_shared(path: &Path, said: &mut String) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if COPIES.iter().any(|mark| name.contains(mark)) || !is_database(path) {
        return false;
    }
    match sqlite::answers(path) {
        Ok(kind) => matches!(kind, Kind::Bridge | Kind::Own { adopted: true, .. }),
        Err(error) => {
            let why = error.to_string();
            let why = printable(why.lines().next().unwrap_or_default()).into_owned();
            said.push_str(&format!(
                "mcp-bridge: perhaps the Python bridge shares it: {why}\n  if so, `mcp-bridge doctor` says how to open its directory again\n"
            ));
            false
        }
    }
}

/// In the names of copies that our programs keep.
const COPIES: [&str; 2] = [".before-schema-", ".replaced-"];

/// Whether it begins as an SQLite database does.
fn is_database(path: &Path) -> bool {
    const BEGIN: &[u8] = b"SQLite format 3\0";
    let mut begin = [0; BEGIN.len()];
    let read = guarded::open(path).and_then(|mut file| file.read_exact(&mut begin));
    read.is_ok() && begin == BEGIN
}

/// Writes what keeps the directory open at every start and boot.
fn keep_open(etc: &Path) -> io::Result<()> {
    for (path, text) in machine_store::missing(etc) {
        let path = etc.join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&path, text)?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o644))?;
    }
    Ok(())
}

fn kept(store: &Path, etc: &Path, directory: &Metadata) -> String {
    let [drop_in, tmpfiles] = [DROP_IN, TMPFILES].map(|(path, _)| etc.join(path));
    format!(
        "mcp-bridge: {store} is shared with the Python bridge, so its directory stays open to its group ({mode:o}): \
         every member may read and write everything in the store\n  this is set in {drop_in} and {tmpfiles}; when you stop using that bridge, delete both files and run: \
         systemctl daemon-reload && systemd-tmpfiles --create mcp-bridge-store.conf && systemctl restart 'mcp-bridged@*'\n",
        store = store.display(),
        mode = directory.mode() & 0o7777,
        drop_in = drop_in.display(),
        tmpfiles = tmpfiles.display(),
    )
}

/// Takes the rights of all others away, of the directory first: then its owner alone can
/// put something else in a file's place.
fn close(directory: &Path, files: &[PathBuf]) -> anyhow::Result<String> {
    let open = guarded::directory(directory)?;
    let owner = open.metadata()?;
    open.set_permissions(Permissions::from_mode(0o700))?;
    let place = directory.display();
    let mut said = format!(
        "mcp-bridge: only its daemons may use {place} now ({:o} before); other programs ask a daemon at /run/mcp-bridge/NAME/api.sock, and find it by their credentials\n",
        owner.mode() & 0o7777,
    );
    let mut stores = Vec::new();
    for path in files {
        match take(path, &owner) {
            Ok(meta) => stores.push((meta.dev(), meta.ino())),
            Err(error) => said.push_str(&format!(
                "mcp-bridge: {} was not changed: {error}\n",
                printable(&path.display().to_string())
            )),
        }
    }
    let holders = holders::of(&stores, owner.uid());
    if !holders.is_empty() {
        said.push_str(
            "mcp-bridge: these processes opened the store before and cannot use it any more; restart each:\n",
        );
    }
    for Holder { pid, name, user } in holders {
        said.push_str(&format!("  {pid} {} of {user}\n", printable(&name)));
    }
    Ok(said)
}

/// Makes a file its directory's owner's, and that user's alone: what a member of the group
/// made, a log of the store above all, the daemon could not open without the group's
/// rights. What is root's stays root's.
fn take(path: &Path, owner: &Metadata) -> io::Result<Metadata> {
    let file: File = guarded::open(path)?;
    let meta = file.metadata()?;
    if meta.nlink() != 1 {
        let why = "it has a second name (a hard link)";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    if meta.uid() != 0 && meta.uid() != owner.uid() {
        let (user, group) = (Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid()));
        fchown(&file, Some(user), Some(group))?;
    }
    if meta.mode() & OTHERS != 0 {
        file.set_permissions(Permissions::from_mode(meta.mode() & 0o700))?;
    }
    Ok(meta)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::symlink_metadata(path).expect("there").mode() & 0o7777
    }

    fn put(path: &Path, mode: u32) {
        std::fs::write(path, "").expect("written");
        std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("set");
    }

    #[test]
    fn closing_follows_no_link_and_takes_no_second_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let (ours, elsewhere) = (dir.path().join("ours"), dir.path().join("elsewhere"));
        for place in [&ours, &elsewhere] {
            std::fs::create_dir(place).expect("made");
        }
        std::fs::set_permissions(&ours, Permissions::from_mode(0o2770)).expect("set");
        let victims = ["linked", "named-twice"].map(|name| elsewhere.join(name));
        for victim in &victims {
            put(victim, 0o644);
        }
        std::os::unix::fs::symlink(&victims[0], ours.join("bridge.db-wal")).expect("linked");
        std::fs::hard_link(&victims[1], ours.join("bridge.db-shm")).expect("linked");
        put(&ours.join("bridge.db"), 0o660);
        put(&ours.join("weekly.db"), 0o664);
        let said = close(&ours, &files(&ours).expect("read")).expect("closed");
        assert_eq!(mode(&ours), 0o700);
        for name in ["bridge.db", "weekly.db"] {
            assert_eq!(mode(&ours.join(name)), 0o600, "{name}");
        }
        for victim in &victims {
            assert_eq!(mode(victim), 0o644, "{}", victim.display());
        }
        assert!(said.contains("bridge.db-shm was not changed"), "{said}");
    }

    #[test]
    fn files_of_a_group_member_become_the_owners() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("bridge.db-wal");
        put(&file, 0o660);
        if std::os::unix::fs::chown(&file, Some(65_534), Some(65_534)).is_err() {
            println!("skipped: this is not root");
            return;
        }
        std::os::unix::fs::chown(dir.path(), Some(65_533), Some(65_533)).expect("root may");
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o2770)).expect("set");
        put(&dir.path().join("roots.db"), 0o600);
        close(dir.path(), &files(dir.path()).expect("read")).expect("closed");
        let owner = |name: &str| {
            let meta = std::fs::metadata(dir.path().join(name)).expect("there");
            (meta.uid(), meta.mode() & 0o777)
        };
        assert_eq!(owner("bridge.db-wal"), (65_533, 0o600));
        assert_eq!(owner("roots.db"), (0, 0o600));
    }
}
