//! A store that breaks: replaced, damaged, read-only, on a full disk, of
//! another version or of another program. Whatever happens, nothing that was
//! acknowledged is lost, nothing is acknowledged that is not stored, and the
//! error names the thing and the remedy.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot set up its case has nothing to say"
)]

#[path = "common/store.rs"]
mod common;

#[path = "store_faults/damaged.rs"]
mod damaged;
#[path = "store_faults/killed.rs"]
mod killed;
#[path = "store_faults/opening.rs"]
mod opening;
#[path = "store_faults/replaced.rs"]
mod replaced;
#[path = "store_faults/unwritable.rs"]
mod unwritable;
