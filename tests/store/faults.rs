//! A store that breaks: replaced, damaged, read-only, on a full disk, of another
//! version or of another program. In every case, nothing that was acknowledged is lost,
//! nothing is acknowledged that is not stored, and the error names the thing and the
//! remedy.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot set up its case has nothing to say"
)]

mod damaged;
mod killed;
mod opening;
mod replaced;
mod unwritable;
