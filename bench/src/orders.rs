//! What a child gets from its parent.

use std::io::BufRead;

use tokio::sync::mpsc;

/// Orders from the parent; closed when the parent ends the child, or died.
pub(super) type Orders = mpsc::UnboundedReceiver<String>;

/// Lines of stdin, read on a thread that the process does not wait for: tokio's own
/// stdin would hold up its end.
pub(super) fn orders() -> std::io::Result<Orders> {
    let (lines, orders) = mpsc::unbounded_channel();
    std::thread::Builder::new()
        .name("orders".into())
        .spawn(move || {
            for line in std::io::stdin().lock().lines() {
                let Ok(line) = line else { return };
                if lines.send(line).is_err() {
                    return;
                }
            }
        })?;
    Ok(orders)
}
