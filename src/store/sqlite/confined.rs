//! The threads that open the store's files. Between our look at a file and SQLite's
//! opening of it, another user who may write the directory can put a link there.
//! Therefore SQLite opens files only on threads that reach nothing beyond the
//! directory: Landlock lets them write and read there alone, and in a process of root's
//! they work as the owner of the directory.
//!
//! Both hold for one thread and for the threads that it starts. The threads
//! of executors are born so, and sqlx starts the worker of its connection from the
//! thread that asks for it, which is one of ours. All other threads of the
//! process, and the commands that a daemon starts, stay as they are.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::process::{Gid, Uid, geteuid};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

use super::file::{FileId, directory_of};
use crate::store::{Result, StoreError};

/// What holds for the threads that open a store's files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Confinement {
    /// Whether the kernel keeps them in the directory.
    pub enforced: bool,
    /// The user that they work as, if it is another than the process's own.
    pub user: Option<u32>,
}

/// The user and the group of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owner {
    user: Uid,
    group: Gid,
}

/// What holds for the threads that open the database at `path`.
///
/// # Errors
/// If its directory cannot be reached.
pub fn confinement(path: &Path) -> Result<Confinement> {
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    Ok(Confined::for_database(&real)?.confinement)
}

/// A directory, or one file, and the user that works there.
#[derive(Debug)]
pub(super) struct ConfinedPath {
    path: PathBuf,
    id: FileId,
    owner: Option<Owner>,
    #[cfg(target_os = "linux")]
    held: std::fs::File,
}

/// Why a thread did not become one of the owner's.
struct Unreachable;

impl ConfinedPath {
    /// The directory of the database at `path`, which itself is no link.
    pub(super) fn of_database(path: &Path) -> Result<Self> {
        let failed = |error: std::io::Error| StoreError::Io(path.into(), error.to_string());
        let directory = std::fs::canonicalize(directory_of(path)).map_err(failed)?;
        let mut place = Self::hold(&directory).map_err(failed)?;
        if geteuid().is_root() {
            place.owner = owner_in(&directory, path);
        }
        Ok(place)
    }

    /// One file, which this user may write; SQLite opens nothing else.
    pub(super) fn of_file(path: &Path) -> Result<Self> {
        Self::hold(path)
            .map_err(|error| StoreError::CannotWrite(path.to_owned(), error.to_string()))
    }

    #[cfg(target_os = "linux")]
    fn hold(path: &Path) -> std::io::Result<Self> {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let held = std::fs::File::options()
            .read(true)
            .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
            .open(path)?;
        Ok(Self {
            path: path.to_owned(),
            id: FileId::from(&held.metadata()?),
            owner: None,
            held,
        })
    }

    #[cfg(not(target_os = "linux"))]
    fn hold(path: &Path) -> std::io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            id: FileId::from(&std::fs::symlink_metadata(path)?),
            owner: None,
        })
    }

    /// Runs `work` on a thread that is confined to this place, and waits for it.
    pub(super) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let died = |what: &str| StoreError::Io(self.path.clone().into(), what.to_owned());
        let span = tracing::Span::current();
        let mut work = Some(work);
        let mut owner = self.owner;
        loop {
            let ended = std::thread::scope(|scope| {
                let thread = std::thread::Builder::new().name("store".into());
                let work = &mut work;
                let run = || match self.confine(owner) {
                    Ok(_) => work.take().map(|work| span.in_scope(work)),
                    Err(Unreachable) => None,
                };
                match thread.spawn_scoped(scope, run) {
                    Ok(thread) => thread
                        .join()
                        .map_err(|_| died("a thread of the store panicked")),
                    Err(error) => Err(died(&error.to_string())),
                }
            })?;
            match ended {
                Some(done) => return Ok(done),
                None if owner.is_some() => owner = None,
                None => return Err(died("a thread of the store did nothing")),
            }
        }
    }

    /// Confines the thread that calls it, for good.
    fn confine(&self, owner: Option<Owner>) -> std::result::Result<Confinement, Unreachable> {
        let enforced = self.keep_inside();
        let user = match owner {
            Some(owner) if become_owner(owner) => {
                // A user who cannot come here can do no harm here either.
                if FileId::of(&self.path) != Some(self.id) {
                    return Err(Unreachable);
                }
                Some(owner.user.as_raw())
            }
            _ => None,
        };
        Ok(Confinement { enforced, user })
    }

    /// Lets the thread that calls it write and read nothing but this place, for
    /// good, and read what every program reads. Whether the kernel does it: one
    /// before 5.13 does not.
    #[cfg(target_os = "linux")]
    fn keep_inside(&self) -> bool {
        use landlock::{
            ABI, AccessFs, PathBeneath, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _,
            RulesetError, RulesetStatus, path_beneath_rules,
        };
        /// Not the file's own: what the libraries read.
        const SYSTEM: [&str; 5] = ["/proc", "/sys", "/etc", "/usr", "/dev/urandom"];
        let keep = || -> std::result::Result<bool, RulesetError> {
            let file = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate;
            let here = match self.held.metadata().is_ok_and(|meta| meta.is_dir()) {
                true => file | AccessFs::MakeReg | AccessFs::RemoveFile,
                false => file,
            };
            let restricted = Ruleset::default()
                .handle_access(AccessFs::from_write(ABI::V5) | AccessFs::ReadFile)?
                .create()?
                .add_rule(PathBeneath::new(&self.held, here))?
                .add_rules(path_beneath_rules(SYSTEM, AccessFs::ReadFile))?
                .restrict_self()?;
            Ok(restricted.ruleset != RulesetStatus::NotEnforced)
        };
        keep().unwrap_or_else(|error| {
            tracing::debug!(%error, "Landlock does not confine the store's threads");
            false
        })
    }

    #[cfg(not(target_os = "linux"))]
    fn keep_inside(&self) -> bool {
        false
    }
}

/// The user that root works as: the owner of the directory; in a directory where every
/// user may put files, the owner of the database.
fn owner_in(directory: &Path, database: &Path) -> Option<Owner> {
    use std::os::unix::fs::MetadataExt;
    /// Sticky, and every user may write.
    const EVERY_USER: u32 = 0o1002;
    let meta = std::fs::symlink_metadata(directory).ok()?;
    let meta = match meta.mode() & EVERY_USER == EVERY_USER {
        true => std::fs::symlink_metadata(database).ok()?,
        false => meta,
    };
    let owner = Owner {
        user: Uid::from_raw(meta.uid()),
        group: Gid::from_raw(meta.gid()),
    };
    (!owner.user.is_root()).then_some(owner)
}

/// Makes the thread that calls it one of that user's, for good. A root that may
/// not, as in some containers, has little that others could use.
#[cfg(target_os = "linux")]
fn become_owner(Owner { user, group }: Owner) -> bool {
    use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
    set_thread_groups(&[group]).is_ok()
        && set_thread_res_gid(group, group, group).is_ok()
        && set_thread_res_uid(user, user, user).is_ok()
}

/// Only Linux has users of a thread.
#[cfg(not(target_os = "linux"))]
fn become_owner(_: Owner) -> bool {
    false
}

/// A thread that is confined to a store's directory, with a runtime on it.
#[derive(Debug)]
pub(super) struct Confined {
    place: Arc<ConfinedPath>,
    runtime: Handle,
    confinement: Confinement,
    /// Ends the thread when it is dropped.
    _end: oneshot::Sender<()>,
}

/// What a started thread says.
type Started = std::result::Result<std::io::Result<(Handle, Confinement)>, Unreachable>;

impl Confined {
    /// The thread for the directory of this database; one for each directory.
    pub(super) fn for_database(path: &Path) -> Result<Arc<Self>> {
        static KNOWN: Mutex<Vec<Weak<Confined>>> = Mutex::new(Vec::new());
        let place = ConfinedPath::of_database(path)?;
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|one| one.strong_count() > 0);
        let same = |one: &Arc<Self>| {
            // Its number is no other directory's while it is held.
            one.place.id == place.id && one.place.owner == place.owner
        };
        if let Some(one) = known.iter().filter_map(Weak::upgrade).find(same) {
            return Ok(one);
        }
        let new = Arc::new(Self::start(place)?);
        known.push(Arc::downgrade(&new));
        Ok(new)
    }

    fn start(place: ConfinedPath) -> Result<Self> {
        let place = Arc::new(place);
        let failed = |error: &str| StoreError::Io(place.path.clone().into(), error.to_owned());
        let attempt = |owner| {
            let (end, ended) = oneshot::channel();
            let (tell, told) = sync_channel(1);
            let here = Arc::clone(&place);
            std::thread::Builder::new()
                .name("store".into())
                .spawn(move || serve(&here, owner, &tell, ended))
                .map_err(|error| failed(&error.to_string()))?;
            let started = told
                .recv()
                .map_err(|_| failed("a thread of the store died"));
            Ok::<_, StoreError>((started?, end))
        };
        let started = match attempt(place.owner)? {
            (Err(Unreachable), _) => attempt(None)?,
            started => started,
        };
        match started {
            (Ok(Ok((runtime, confinement))), end) => Ok(Self {
                place,
                runtime,
                confinement,
                _end: end,
            }),
            (Ok(Err(error)), _) => Err(failed(&error.to_string())),
            (Err(Unreachable), _) => Err(failed("its directory cannot be reached")),
        }
    }

    /// The runtime on the thread.
    pub(super) fn runtime(&self) -> Handle {
        self.runtime.clone()
    }

    /// Runs `work` on a further thread that is confined in the same way, and
    /// waits for it.
    pub(super) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        self.place.run(work)
    }

    /// Lets the thread do it, so that the threads which that starts are born
    /// confined. It ends with its caller.
    pub(super) async fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T> {
        AbortOnDropHandle::new(self.runtime.spawn(work))
            .await
            .map_err(|_| self.gone())
    }

    /// Starts a thread that is born confined.
    ///
    /// # Errors
    /// The operating system's.
    pub(super) fn thread(
        &self,
        name: &str,
        work: Box<dyn FnOnce() + Send>,
    ) -> std::io::Result<std::thread::JoinHandle<()>> {
        let (tell, told) = sync_channel(1);
        let thread = std::thread::Builder::new().name(name.to_owned());
        self.runtime.spawn(async move {
            let _ = tell.send(thread.spawn(work));
        });
        told.recv().map_err(std::io::Error::other)?
    }

    fn gone(&self) -> StoreError {
        let why = "a thread of the store died".to_owned();
        StoreError::Io(self.place.path.clone().into(), why)
    }
}

/// A confined thread's life.
fn serve(
    place: &ConfinedPath,
    owner: Option<Owner>,
    tell: &SyncSender<Started>,
    ended: oneshot::Receiver<()>,
) {
    let confinement = match place.confine(owner) {
        Ok(confinement) => confinement,
        Err(unreachable) => {
            let _ = tell.send(Err(unreachable));
            return;
        }
    };
    match tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
    {
        Ok(runtime) => {
            let _ = tell.send(Ok(Ok((runtime.handle().clone(), confinement))));
            // Until no caller has the store open any more.
            let _ = runtime.block_on(ended);
        }
        Err(error) => {
            let _ = tell.send(Ok(Err(error)));
        }
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
