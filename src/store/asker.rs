//! The user that this process asks for: the one of another program, which came to the
//! daemon's door. The audit log names that user.

use std::cell::Cell;
use std::future::Future;

tokio::task_local! {
    /// While a request of another program is worked on.
    static ASKS: u32;
}

thread_local! {
    /// While a write of such a request runs on an executor's thread.
    static WRITES: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Does all that `call` asks of a store for this user.
pub async fn for_user<T>(uid: u32, call: impl Future<Output = T>) -> T {
    ASKS.scope(uid, call).await
}

/// The user that this task asks for, if it is not for this process itself.
pub(super) fn of_this_task() -> Option<u32> {
    ASKS.try_with(|uid| *uid).ok()
}

/// Runs a write that was asked for by this user.
pub(super) fn writing<T>(uid: Option<u32>, act: impl FnOnce() -> T) -> T {
    WRITES.set(uid);
    let done = act();
    WRITES.set(None);
    done
}

/// The user of the write that runs now.
pub(super) fn of_this_write() -> Option<u32> {
    WRITES.get()
}
