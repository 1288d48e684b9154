//! Opening files where another user, or an agent, may have put something else:
//! a link to another file, a pipe that keeps its opener waiting, a device.
//!
//! Nothing here waits for the other end of a pipe, takes a terminal for its
//! own, or hands out anything but a regular file. What a program finds or makes
//! in a directory that others may write ([`open`], [`open_to_write`], [`make`])
//! is never reached through a link. A path that an operator named
//! ([`open_named`]) may be a link, if only the operator and root can have
//! put it there. Modes and owners are read and set through the descriptor, for
//! a path may mean another file a moment later.

use std::fs::{File, FileType, Metadata, Permissions};
use std::io::{self, ErrorKind, Read as _};
#[cfg(target_os = "linux")]
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::host;

/// Bytes that a file of settings, credentials or a daemon's state may have.
pub(crate) const MOST_BYTES: u64 = 1 << 20;

/// For every opening: no waiting for a pipe, no terminal taken, nothing handed
/// on to commands.
const ALWAYS: OFlags = OFlags::NONBLOCK
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// Opens a file to read it; a link at `path` is an error.
///
/// # Errors
/// The system's, or that it is no regular file.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    open_at(path, OFlags::RDONLY | OFlags::NOFOLLOW)
}

/// Opens a file to write into it, or to lock it; a link at `path` is an error,
/// and so is a file with another name, which may belong to another user elsewhere.
///
/// # Errors
/// The system's, or what it is instead of a file of its own.
pub(crate) fn open_to_write(path: &Path) -> io::Result<File> {
    let file = open_at(path, OFlags::RDWR | OFlags::NOFOLLOW)?;
    ensure_one_name(&file)?;
    Ok(file)
}

/// The file at `path` to write into, and whether this call made it, with that
/// mode.
///
/// # Errors
/// As [`open_to_write`] and [`make`].
pub(crate) fn open_or_make(path: &Path, mode: u32) -> io::Result<(File, bool)> {
    let mut tries = 0;
    loop {
        match open_to_write(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            opened => return opened.map(|file| (file, false)),
        }
        match make(path, mode) {
            // Another process made it between the two calls; one that goes on
            // making and removing it does not hold us up.
            Err(error) if error.kind() == ErrorKind::AlreadyExists && tries < 16 => tries += 1,
            made => return made.map(|file| (file, true)),
        }
    }
}

/// Opens a file, or a pipe that is read at this moment, to write at its end; a
/// file that is not there is made with the mode, or without one for this user and the
/// file's group, as far as the umask lets the group write. A link is an error; on the
/// way there, one that another user may have put there is.
///
/// # Errors
/// The system's, or what stands there instead.
pub(crate) fn open_to_append(path: &Path, mode: Option<u32>) -> io::Result<File> {
    // The directory is held open, so that it stays the one that was looked at.
    #[cfg(target_os = "linux")]
    let (_directory, path) = &reach(path)?;
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW;
    let pipe_or_file = |kind: FileType| kind.is_fifo() || kind.is_file();
    match open_kind(path, flags, pipe_or_file) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        opened => {
            let file = opened?;
            ensure_one_name(&file)?;
            return Ok(file);
        }
    }
    let flags = flags | OFlags::CREATE | OFlags::EXCL | ALWAYS;
    let first = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::WGRP;
    let made = File::from(retry(|| rustix::fs::open(path, flags, first))?);
    if let Some(mode) = mode {
        made.set_permissions(Permissions::from_mode(mode))?;
    }
    Ok(made)
}

/// Makes a file that was not there, with exactly that mode under any umask.
///
/// # Errors
/// The system's; [`ErrorKind::AlreadyExists`] for anything at `path`, also a
/// link that leads nowhere.
pub(crate) fn make(path: &Path, mode: u32) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | ALWAYS;
    // Its owner's alone for the moment before the mode is set.
    let first = Mode::RUSR | Mode::WUSR;
    let file = File::from(retry(|| rustix::fs::open(path, flags, first))?);
    if file.metadata()?.mode() & 0o7777 != mode {
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    Ok(file)
}

/// Opens a file that an operator named, to read it. A link is followed if its
/// owner is root or this user, or if no other user may write its directory.
///
/// # Errors
/// The system's, or what it is instead of a regular file.
pub(crate) fn open_named(path: &Path) -> io::Result<File> {
    ensure_link_is_trusted(path)?;
    open_at(path, OFlags::RDONLY)
}

/// Opens a file for a question whose answer does no harm, for any file: links are
/// followed.
///
/// # Errors
/// The system's, or what it is instead of a regular file.
pub(crate) fn open_through_links(path: &Path) -> io::Result<File> {
    open_at(path, OFlags::RDONLY)
}

/// The content of a file in a place that others may write.
///
/// # Errors
/// As [`open`], and for more than `most` bytes.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    bounded(&open(path)?, most)
}

/// The content of a file that an operator named.
///
/// # Errors
/// As [`open_named`], and for more than `most` bytes.
pub(crate) fn read_named(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    bounded(&open_named(path)?, most)
}

/// What is left of an open file.
///
/// # Errors
/// The system's, and for more than `most` bytes.
pub(crate) fn bounded(file: &File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > most {
        let most = crate::text::bytes(most);
        return Err(io::Error::new(
            ErrorKind::FileTooLarge,
            format!("this file is too long: more than {most}"),
        ));
    }
    Ok(bytes)
}

/// Opens a directory, to make changes in it durable.
///
/// # Errors
/// The system's.
pub(crate) fn directory(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | ALWAYS;
    Ok(retry(|| rustix::fs::open(path, flags, Mode::empty()))?.into())
}

/// What stands at a path, if that is no regular file: `symbolic link`, `pipe`.
pub(crate) fn other_kind(kind: FileType) -> Option<&'static str> {
    match kind {
        kind if kind.is_file() => None,
        kind if kind.is_symlink() => Some("symbolic link"),
        kind if kind.is_dir() => Some("directory"),
        kind if kind.is_fifo() => Some("pipe"),
        kind if kind.is_socket() => Some("socket"),
        _ => Some("device"),
    }
}

/// The directory among `directory` and those above it in which a user other
/// than this one and root can put another one in its place; `None` if there is
/// none. Directories that are not there yet are left out.
pub(crate) fn exposed(directory: &Path) -> Option<PathBuf> {
    let directory = std::path::absolute(directory).ok()?;
    let there = directory.ancestors().find_map(|d| d.canonicalize().ok())?;
    there
        .ancestors()
        .find(|place| {
            // In a sticky one a name is its owner's alone.
            std::fs::metadata(place)
                .is_ok_and(|meta| meta.mode() & 0o1000 == 0 && others_may_write(&meta))
        })
        .map(Path::to_owned)
}

/// What lets a user other than this one and root choose the program that a path
/// names: the file itself, or a directory as [`exposed`] finds it.
pub(crate) fn exposed_program(program: &Path) -> Option<PathBuf> {
    match program.metadata() {
        Ok(meta) if others_may_write(&meta) || !is_trusted(meta.uid()) => Some(program.to_owned()),
        _ => exposed(program.parent().unwrap_or(Path::new("/"))),
    }
}

/// Whether the mode lets others than the owner write. A user's own group, in
/// which no other user is, is no other, unless the directory is marked as one that
/// a group shares (its files inherit the group).
pub(crate) fn others_may_write(meta: &Metadata) -> bool {
    let (mode, group) = (meta.mode(), meta.gid());
    let is_own = || meta.uid() == group && mode & 0o2000 == 0 && host::is_own_group(group);
    mode & 0o002 != 0 || (mode & 0o020 != 0 && !is_own())
}

/// Whether a file of this owner is as good as our own.
pub(crate) fn is_trusted(owner: u32) -> bool {
    owner == 0 || owner == rustix::process::geteuid().as_raw()
}

fn open_at(path: &Path, flags: OFlags) -> io::Result<File> {
    open_kind(path, flags, |kind| kind.is_file())
}

fn open_kind(path: &Path, flags: OFlags, wanted: fn(FileType) -> bool) -> io::Result<File> {
    let ensure = |meta: &Metadata| match wanted(meta.file_type()) {
        true => Ok(()),
        false => Err(is_no_file(other_kind(meta.file_type()).unwrap_or("file"))),
    };
    // Looked at first, for opening a device is an act by itself, and for a
    // better word than the system's; what counts is the look afterwards.
    let meta = match flags.contains(OFlags::NOFOLLOW) {
        true => path.symlink_metadata()?,
        false => path.metadata()?,
    };
    ensure(&meta)?;
    let file = match retry(|| rustix::fs::open(path, flags | ALWAYS, Mode::empty())) {
        Err(Errno::LOOP) => return Err(is_no_file("symbolic link")),
        opened => File::from(opened?),
    };
    ensure(&file.metadata()?)?;
    Ok(file)
}

fn is_no_file(kind: &str) -> io::Error {
    let category = match kind {
        "directory" => ErrorKind::IsADirectory,
        _ => ErrorKind::InvalidInput,
    };
    io::Error::new(category, format!("this is a {kind}, not a file"))
}

fn ensure_one_name(file: &File) -> io::Result<()> {
    match file.metadata()?.nlink() {
        // 0 is one that was removed since.
        0 | 1 => Ok(()),
        _ => Err(io::Error::new(
            ErrorKind::InvalidInput,
            "this file has a second name (a hard link)",
        )),
    }
}

/// Refuses a link of another user in a directory that another may write.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] for such a link; the system's.
pub(crate) fn ensure_link_is_trusted(path: &Path) -> io::Result<()> {
    let link = path.symlink_metadata()?;
    if !link.is_symlink() || is_trusted(link.uid()) {
        return Ok(());
    }
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let directory = std::fs::metadata(directory.unwrap_or(Path::new(".")))?;
    if is_trusted(directory.uid()) && !others_may_write(&directory) {
        return Ok(());
    }
    Err(io::Error::new(
        ErrorKind::InvalidInput,
        format!(
            "this is a symbolic link of user {}; it is not followed",
            host::user_name(link.uid())
        ),
    ))
}

/// The directory of `path`, reached step by step, and `path` by way of it. A link
/// on the way is followed if its owner is root or this user, or if no other user
/// may write the directory that it is in.
#[cfg(target_os = "linux")]
fn reach(path: &Path) -> io::Result<(File, PathBuf)> {
    use std::os::fd::AsRawFd as _;
    /// As the kernel's own.
    const MOST_LINKS: u32 = 40;
    let from = |place: &str| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        retry(|| rustix::fs::open(place, flags, Mode::empty())).map(File::from)
    };
    let whole = std::path::absolute(path)?;
    let (Some(directory), Some(name)) = (whole.parent(), whole.file_name()) else {
        return Err(is_no_file("directory"));
    };
    let mut here = from("/")?;
    let mut steps: Vec<std::ffi::OsString> = steps_of(directory);
    let mut links = 0;
    while let Some(step) = steps.pop() {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let next = File::from(retry(|| {
            rustix::fs::openat(&here, &step, flags, Mode::empty())
        })?);
        let meta = next.metadata()?;
        if !meta.is_symlink() {
            here = next;
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(Errno::LOOP.into());
        }
        let around = here.metadata()?;
        let own = is_trusted(around.uid()) && !others_may_write(&around);
        if !own && !is_trusted(meta.uid()) {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "{} in the path is a symbolic link of user {}; it is not followed",
                    step.display(),
                    host::user_name(meta.uid())
                ),
            ));
        }
        let target = rustix::fs::readlinkat(&next, "", Vec::new())?;
        let target = Path::new(std::ffi::OsStr::from_bytes(target.as_bytes()));
        if target.is_absolute() {
            here = from("/")?;
        }
        steps.extend(steps_of(target));
    }
    let through = PathBuf::from(format!("/proc/self/fd/{}", here.as_raw_fd())).join(name);
    Ok((here, through))
}

/// The names in a path, the last first.
#[cfg(target_os = "linux")]
fn steps_of(path: &Path) -> Vec<std::ffi::OsString> {
    use std::path::Component;
    let named = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(named).collect()
}

fn retry<T>(call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    rustix::io::retry_on_intr(call)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// Everything that may stand where a file is expected.
    fn obstacles(dir: &Path) -> Vec<(PathBuf, &'static str)> {
        let place = |name: &str| dir.join(name);
        std::fs::write(place("victim"), "secret").expect("written");
        symlink(place("victim"), place("link")).expect("linked");
        symlink(place("nowhere"), place("dangling")).expect("linked");
        std::fs::create_dir(place("directory")).expect("made");
        std::os::unix::net::UnixListener::bind(place("socket")).expect("bound");
        let made = std::process::Command::new("mkfifo")
            .arg(place("pipe"))
            .status();
        assert!(made.expect("mkfifo").success());
        [
            ("link", "symbolic link"),
            ("dangling", "symbolic link"),
            ("directory", "directory"),
            ("socket", "socket"),
            ("pipe", "pipe"),
        ]
        .map(|(name, kind)| (place(name), kind))
        .into()
    }

    /// An agent may write the directory that the file's directory is in.
    #[cfg(target_os = "linux")]
    #[test]
    fn appending_follows_no_foreign_link_on_the_way() {
        let dir = tempfile::tempdir().expect("a directory");
        let (agents, ours) = (dir.path().join("agents"), dir.path().join("ours"));
        for place in [&agents, &ours] {
            std::fs::create_dir(place).expect("made");
        }
        let open_to_all = Permissions::from_mode(0o777);
        std::fs::set_permissions(&agents, open_to_all).expect("set");
        symlink("../ours", agents.join("box")).expect("linked");
        let inbox = agents.join("box/inbox");
        open_to_append(&inbox, None).expect("this user's own link");
        assert!(ours.join("inbox").exists());
        std::fs::remove_file(ours.join("inbox")).expect("removed");
        if std::os::unix::fs::lchown(agents.join("box"), Some(65_534), None).is_err() {
            println!("skipped: a foreign link: this is not root");
            return;
        }
        let refused = open_to_append(&inbox, None).expect_err("another user's link");
        assert!(refused.to_string().contains("symbolic link"), "{refused}");
        assert!(!ours.join("inbox").exists());
        open_to_append(&agents.join("plain"), Some(0o640)).expect("no link on the way");
    }

    #[test]
    fn only_regular_files_are_opened_and_nothing_waits() {
        let dir = tempfile::tempdir().expect("a directory");
        for (path, kind) in obstacles(dir.path()) {
            let errors = [
                open(&path).map(drop),
                open_to_write(&path).map(drop),
                open_or_make(&path, 0o600).map(drop),
                read(&path, 10).map(drop),
            ];
            for error in errors {
                let error = error.expect_err(kind).to_string();
                assert!(error.contains(kind), "{}: {error}", path.display());
            }
            let made = make(&path, 0o600).expect_err("there is something");
            assert_eq!(made.kind(), ErrorKind::AlreadyExists, "{kind}");
        }
        let text = std::fs::read_to_string(dir.path().join("victim")).expect("there");
        assert_eq!(text, "secret");
        assert!(!dir.path().join("nowhere").exists());
    }

    #[test]
    fn a_second_name_is_not_written_through() {
        let dir = tempfile::tempdir().expect("a directory");
        let (victim, path) = (dir.path().join("victim"), dir.path().join("link"));
        std::fs::write(&victim, "").expect("written");
        std::fs::hard_link(&victim, &path).expect("linked");
        let error = open_to_write(&path).expect_err("two names").to_string();
        assert!(error.contains("hard link"), "{error}");
        assert!(open(&path).is_ok(), "reading changes nothing");
    }

    #[test]
    fn a_new_file_has_the_wanted_mode() {
        let dir = tempfile::tempdir().expect("a directory");
        for mode in [0o600, 0o660, 0o644] {
            let path = dir.path().join(format!("{mode:o}"));
            let (file, made) = open_or_make(&path, mode).expect("made");
            assert!(made);
            let there = file.metadata().expect("known").mode() & 0o7777;
            assert_eq!(there, mode);
            let (_, made) = open_or_make(&path, 0o600).expect("opened");
            assert!(!made, "the second time it is there");
        }
    }

    #[test]
    fn a_read_has_a_bound() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x");
        std::fs::write(&path, "12345").expect("written");
        assert_eq!(read(&path, 5).expect("read"), b"12345");
        let error = read_named(&path, 4).expect_err("too long");
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        let huge = File::create(dir.path().join("huge")).expect("made");
        huge.set_len(1 << 40).expect("sparse");
        assert!(read(&dir.path().join("huge"), MOST_BYTES).is_err());
    }

    #[test]
    fn an_operators_own_link_is_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        obstacles(dir.path());
        let link = dir.path().join("link");
        assert_eq!(read_named(&link, 10).expect("followed"), b"secret");
        symlink(dir.path().join("pipe"), dir.path().join("to-pipe")).expect("linked");
        let error = read_named(&dir.path().join("to-pipe"), 10).expect_err("a pipe");
        assert!(error.to_string().contains("pipe"), "{error}");
        if !rustix::process::geteuid().is_root() {
            return;
        }
        std::os::unix::fs::lchown(&link, Some(65_534), None).expect("root may");
        assert!(read_named(&link, 10).is_ok(), "no other user writes here");
        let shared = Permissions::from_mode(0o2777);
        std::fs::set_permissions(dir.path(), shared).expect("set");
        let error = read_named(&link, 10).expect_err("a stranger's");
        assert!(error.to_string().contains("symbolic link"), "{error}");
    }

    #[test]
    fn directory_that_others_write_is_exposed_with_all_below() {
        let dir = tempfile::tempdir().expect("a directory");
        let inner = dir.path().join("a/b");
        std::fs::create_dir_all(&inner).expect("made");
        let set = |mode| {
            let path = dir.path().join("a");
            std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("set");
        };
        set(0o755);
        assert_eq!(exposed(&inner), None);
        set(0o2775);
        assert!(exposed(&inner).is_some(), "a group's");
        set(0o777);
        let place = dir.path().canonicalize().expect("there").join("a");
        assert_eq!(exposed(&inner.join("new")).as_ref(), Some(&place));
        set(0o1777);
        assert_eq!(exposed(&inner), None, "sticky");
    }
}
