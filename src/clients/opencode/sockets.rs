//! Whose sockets these are, by the kernel's own lists. A TCP port does not show the
//! program behind it: another user may listen at the port of a client that ended.

#[cfg(target_os = "linux")]
pub(super) use linux::{holds, listening};
#[cfg(not(target_os = "linux"))]
pub(super) use other::{holds, listening};

#[cfg(not(target_os = "linux"))]
mod other {
    use std::net::SocketAddr;

    use crate::model::process::ProcessId;

    /// The addresses at which this process listens: here that is never known.
    ///
    /// # Errors
    /// That.
    pub(in super::super) fn listening(_process: ProcessId) -> Result<Vec<SocketAddr>, String> {
        Err("this system does not show the port of opencode's server".into())
    }

    /// Whether this process holds the other end of a connection.
    pub(in super::super) fn holds(
        _process: ProcessId,
        _ours: SocketAddr,
        _theirs: SocketAddr,
    ) -> bool {
        false
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::HashSet;
    use std::fs::File;
    use std::io::{BufRead as _, BufReader, Read as _};
    use std::net::{IpAddr, SocketAddr};

    use crate::liveness;
    use crate::model::process::ProcessId;

    /// Bytes of a list of connections at most: some 100,000 of them.
    const MOST: u64 = 16 << 20;

    /// In the lists' column of states.
    const LISTENS: &str = "0A";

    /// The addresses at which this process listens.
    ///
    /// # Errors
    /// Why that is not known, in plain words.
    pub(in super::super) fn listening(process: ProcessId) -> Result<Vec<SocketAddr>, String> {
        let own = sockets(process).ok_or("the client's connections cannot be looked at")?;
        let mut found = rows(|row| row.listens && own.contains(&row.inode));
        found.sort_by_key(|row| row.local);
        found.dedup_by_key(|row| row.local);
        Ok(found.into_iter().map(|row| row.local).collect())
    }

    /// Whether this process holds the other end of a connection. A connection that it has
    /// not accepted yet is in no process's hands.
    pub(in super::super) fn holds(
        process: ProcessId,
        ours: SocketAddr,
        theirs: SocketAddr,
    ) -> bool {
        let ends = (canonical(theirs), canonical(ours));
        let rows = rows(|row| (row.local, row.remote) == ends && row.inode != 0);
        let own = match rows.is_empty() {
            true => None,
            false => sockets(process),
        };
        own.is_some_and(|own| rows.iter().any(|row| own.contains(&row.inode)))
    }

    /// A line of the kernel's lists.
    #[derive(Debug, PartialEq, Eq)]
    struct Row {
        local: SocketAddr,
        remote: SocketAddr,
        listens: bool,
        /// Zero as long as no process has it.
        inode: u64,
    }

    fn rows(wanted: impl Fn(&Row) -> bool) -> Vec<Row> {
        let lists = ["/proc/self/net/tcp", "/proc/self/net/tcp6"].map(File::open);
        // The second is missing where the machine has no IPv6.
        let lists = lists.into_iter().flatten();
        let lines = lists.flat_map(|list| BufReader::new(list.take(MOST)).lines());
        let rows = lines.map_while(Result::ok).filter_map(|line| row(&line));
        rows.filter(wanted).collect()
    }

    fn row(line: &str) -> Option<Row> {
        let mut words = line.split_ascii_whitespace().skip(1);
        let local = address(words.next()?)?;
        let remote = address(words.next()?)?;
        let listens = words.next()? == LISTENS;
        // Behind the queues, the timer, the tries, the user and the time to live.
        let inode = words.nth(5)?.parse().ok()?;
        Some(Row {
            local,
            remote,
            listens,
            inode,
        })
    }

    /// An address as the lists write it: words of 32 bits in this machine's order.
    fn address(text: &str) -> Option<SocketAddr> {
        let (ip, port) = text.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let word = |at: usize| u32::from_str_radix(ip.get(at..at + 8)?, 16).ok();
        let ip = match ip.len() {
            8 => IpAddr::from(word(0)?.to_ne_bytes()),
            32 => {
                let mut octets = [0; 16];
                for (place, four) in octets.chunks_exact_mut(4).enumerate() {
                    four.copy_from_slice(&word(place * 8)?.to_ne_bytes());
                }
                IpAddr::from(octets)
            }
            _ => return None,
        };
        Some(canonical(SocketAddr::new(ip, port)))
    }

    fn canonical(address: SocketAddr) -> SocketAddr {
        SocketAddr::new(address.ip().to_canonical(), address.port())
    }

    /// The sockets that this process has open; nothing where it ended, or may not be
    /// looked at.
    fn sockets(process: ProcessId) -> Option<HashSet<u64>> {
        let open = std::fs::read_dir(format!("/proc/{}/fd", process.pid)).ok()?;
        let links = open.flatten().map(|entry| std::fs::read_link(entry.path()));
        let sockets = links.flatten().filter_map(|link| {
            let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            inode.parse().ok()
        });
        let sockets = sockets.collect();
        // Else they may be those of a later process with its number.
        liveness::runs(process).then_some(sockets)
    }

    #[cfg(test)]
    mod tests {
        use std::net::{TcpListener, TcpStream};

        use super::*;

        fn own() -> ProcessId {
            liveness::own().expect("a process")
        }

        #[test]
        fn lines_of_the_kernel_are_read() {
            let line = "   3: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 \
                        00000000  1000        0 31337 1 0000000000000000 100 0 0 10 0";
            let row = row(line).expect("a row");
            if cfg!(target_endian = "little") {
                assert_eq!(row.local, "127.0.0.1:8080".parse().expect("an address"));
            }
            assert!(row.listens);
            assert_eq!(row.inode, 31337);
        }

        #[test]
        fn unreadable_line_of_the_kernel_is_skipped() {
            let heading = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when";
            for odd in [
                "",
                heading,
                "1: 0100007F 0 0A",
                "1: zz:zz 0:0 0A a b c d e f",
                "1: 0100007F:1F90 00000000:0000 0A 0 0 0 0 0 inode",
            ] {
                assert_eq!(row(odd), None, "{odd}");
            }
        }

        #[test]
        fn process_holds_what_it_accepted_and_nothing_else() {
            for place in ["127.0.0.1:0", "[::]:0"] {
                let Ok(listener) = TcpListener::bind(place) else {
                    continue;
                };
                let port = listener.local_addr().expect("an address").port();
                let listens = |at: &SocketAddr| at.port() == port;
                let found = listening(own()).expect("known");
                assert!(found.iter().any(listens), "{found:?}");
                let stream = TcpStream::connect(("127.0.0.1", port)).expect("connected");
                let (ours, theirs) = (stream.local_addr(), stream.peer_addr());
                let (ours, theirs) = (ours.expect("an address"), theirs.expect("an address"));
                assert!(!holds(own(), ours, theirs), "it was not accepted");
                let _accepted = listener.accept().expect("accepted");
                assert!(holds(own(), ours, theirs));
                let mut later = own();
                later.start += 1;
                assert!(!holds(later, ours, theirs), "another process");
                let mut other = std::process::Command::new("sleep");
                let mut other = other.arg("60").spawn().expect("a process");
                let pid = i32::try_from(other.id()).expect("a number");
                let process = liveness::of(pid).expect("a process");
                assert!(!holds(process, ours, theirs), "another process");
                other.kill().expect("killed");
                other.wait().expect("ended");
            }
        }
    }
}
