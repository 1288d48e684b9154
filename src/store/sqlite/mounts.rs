//! File systems by their kind: on those of a network, byte-range locks or
//! shared memory do not reach other machines.

use std::path::Path;

use rustix::fs::StatFs;

/// The kind of a network file system that `path` is on.
pub(super) fn remote(path: &Path) -> Option<String> {
    of_network(path, &rustix::fs::statfs(path).ok()?)
}

/// What kind of file system `path` is on, as far as we know it by name.
#[must_use]
pub fn file_system(path: &Path) -> Option<String> {
    let stat = rustix::fs::statfs(path).ok()?;
    of_network(path, &stat).or_else(|| local(path, &stat))
}

/// Whether a file is a mount of its own, as when a container is given a single
/// file: what stands beside it in the directory is not what stands beside it
/// elsewhere. `path` has no links.
#[cfg(target_os = "linux")]
pub(super) fn is_mount(path: &Path) -> bool {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
    match statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty()) {
        Ok(found)
            if found
                .stx_attributes_mask
                .contains(StatxAttributes::MOUNT_ROOT) =>
        {
            found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)
        }
        // A kernel before 5.8 does not say it there.
        _ => std::fs::read_to_string("/proc/self/mountinfo")
            .is_ok_and(|mounts| is_mount_place(&mounts, path)),
    }
}

/// The same elsewhere: only directories are mounted.
#[cfg(not(target_os = "linux"))]
pub(super) fn is_mount(_: &Path) -> bool {
    false
}

/// Whether something is mounted at `path`, from proc_pid_mountinfo(5).
#[cfg(target_os = "linux")]
fn is_mount_place(mounts: &str, path: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt as _;
    let mut written = Vec::new();
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => {
                written.extend_from_slice(format!("\\{byte:03o}").as_bytes());
            }
            _ => written.push(byte),
        }
    }
    mounts
        .lines()
        .any(|line| line.split(' ').nth(4).map(str::as_bytes) == Some(&written))
}

#[cfg(target_os = "linux")]
fn of_network(path: &Path, stat: &StatFs) -> Option<String> {
    match magic(stat) {
        FUSE => fuse(path).filter(|kind| fuse_over_network(kind)),
        other => network_file_system(other).map(str::to_owned),
    }
}

#[cfg(target_os = "linux")]
fn local(path: &Path, stat: &StatFs) -> Option<String> {
    let name = match magic(stat) {
        0xEF53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683E => "btrfs",
        0x2FC1_2FC1 => "zfs",
        0xF2F5_2010 => "f2fs",
        0x794C_7630 => "overlay",
        0x0102_1994 => "tmpfs",
        FUSE => return fuse(path),
        _ => return None,
    };
    Some(name.to_owned())
}

#[cfg(target_os = "linux")]
const FUSE: u32 = 0x6573_5546;

#[cfg(target_os = "linux")]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "magic numbers have 32 bits"
)]
fn magic(stat: &StatFs) -> u32 {
    stat.f_type as u32
}

/// macOS says of each whether it is of this machine.
#[cfg(not(target_os = "linux"))]
fn of_network(path: &Path, stat: &StatFs) -> Option<String> {
    /// `MNT_LOCAL` of sys/mount.h.
    const LOCAL: u32 = 0x1000;
    (stat.f_flags & LOCAL == 0)
        .then(|| local(path, stat))
        .flatten()
}

/// And gives its name.
#[cfg(not(target_os = "linux"))]
fn local(_: &Path, stat: &StatFs) -> Option<String> {
    let name = stat.f_fstypename.iter().take_while(|byte| **byte != 0);
    Some(name.map(|byte| char::from(byte.cast_unsigned())).collect())
}

/// Magic numbers of statfs(2).
#[cfg(target_os = "linux")]
fn network_file_system(magic: u32) -> Option<&'static str> {
    Some(match magic {
        0x6969 => "nfs",
        0xFF53_4D42 | 0xFE53_4D42 | 0x517B => "smb",
        0x0102_1997 => "9p",
        0x00C3_6400 => "ceph",
        0x5346_414F | 0x6B41_4653 => "afs",
        0x0BD0_0BD0 => "lustre",
        0x7375_7245 => "coda",
        0x0116_1970 => "gfs2",
        _ => return None,
    })
}

/// What a FUSE file system calls itself: all of them share one number.
#[cfg(target_os = "linux")]
fn fuse(path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    let device = std::fs::metadata(path).ok()?.dev();
    let device = (rustix::fs::major(device), rustix::fs::minor(device));
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    kind_of(&mounts, device)
}

/// The kind of the file system on a device, from proc_pid_mountinfo(5): id,
/// parent, device, root, place, options, any number of fields up to a dash, then
/// kind and source. Programs of old times name themselves in the source.
#[cfg(target_os = "linux")]
fn kind_of(mounts: &str, (major, minor): (u32, u32)) -> Option<String> {
    let device = format!("{major}:{minor}");
    let line = mounts
        .lines()
        .find(|line| line.split(' ').nth(2) == Some(&*device))?;
    let (_, what) = line.split_once(" - ")?;
    let mut words = what.split(' ');
    let (kind, source) = (words.next()?, words.next().unwrap_or_default());
    let named = match source.split_once('#') {
        Some((program, _)) if kind == "fuse" => Some(program),
        None if kind == "fuse" && source.contains("://") => Some("davfs"),
        _ => None,
    };
    Some(named.map_or_else(|| kind.to_owned(), |program| format!("{kind}.{program}")))
}

/// Those that are known to have the files elsewhere. Others are of this
/// machine: disks (`fuseblk`), unions, encryption, containers.
#[cfg(target_os = "linux")]
fn fuse_over_network(kind: &str) -> bool {
    const KNOWN: [&str; 28] = [
        "afp",
        "blobfuse",
        "blobfuse2",
        "ceph",
        "ceph-fuse",
        "curlftpfs",
        "davfs",
        "davfs2",
        "dbxfs",
        "gcsfuse",
        "glusterfs",
        "google-drive-ocamlfuse",
        "goofys",
        "gvfsd-fuse",
        "hdfs",
        "juicefs",
        "kio-fuse",
        "lizardfs",
        "mfs",
        "mount-s3",
        "moosefs",
        "onedriver",
        "rclone",
        "s3fs",
        "seaweedfs",
        "smbnetfs",
        "sshfs",
        "vmhgfs-fuse",
    ];
    kind.strip_prefix("fuse.")
        .is_some_and(|program| KNOWN.contains(&program))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_by_their_numbers() {
        assert_eq!(network_file_system(0x6969), Some("nfs"));
        assert_eq!(network_file_system(0xFF53_4D42), Some("smb"));
        assert_eq!(network_file_system(0xEF53), None, "ext4");
        assert_eq!(network_file_system(0x0102_1994), None, "tmpfs");
    }

    #[test]
    fn fuse_mounts_are_known_by_type_or_source() {
        let mounts = "\
25 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
90 25 0:54 / /home/me/far rw,nosuid shared:50 - fuse.sshfs me@host:/srv rw,user_id=1000
91 25 0:55 / /mnt/a\\040b rw - fuse.glusterfs host:/vol rw
92 25 0:56 / /mnt/disk rw shared:51 master:2 - fuseblk /dev/sda1 rw
93 25 0:57 / /mnt/pool rw - fuse.mergerfs a:b rw
94 25 0:58 / /mnt/old rw - fuse sshfs#me@host:/srv rw
95 25 0:59 / /mnt/dav rw - fuse https://host/dav rw
96 25 0:6 / /dev rw shared:2 - devtmpfs udev rw
97 25 0:60 / /mnt/own rw - fuse /dev/fuse rw
";
        for (minor, kind, far) in [
            (54, "fuse.sshfs", true),
            (55, "fuse.glusterfs", true),
            (56, "fuseblk", false),
            (57, "fuse.mergerfs", false),
            (58, "fuse.sshfs", true),
            (59, "fuse.davfs", true),
            (60, "fuse", false),
        ] {
            let found = kind_of(mounts, (0, minor));
            assert_eq!(found.as_deref(), Some(kind));
            assert_eq!(fuse_over_network(kind), far, "{kind}");
        }
        assert_eq!(kind_of(mounts, (254, 1)).as_deref(), Some("ext4"));
        assert_eq!(kind_of(mounts, (0, 5)), None);
    }

    #[test]
    fn a_mounted_file_is_known_by_its_place() {
        let mounts = "\
25 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
90 25 254:1 /srv/b.db /data/my\\040store/b.db rw - ext4 /dev/vda1 rw
";
        assert!(is_mount_place(mounts, Path::new("/data/my store/b.db")));
        assert!(is_mount_place(mounts, Path::new("/")));
        assert!(!is_mount_place(mounts, Path::new("/srv/b.db")));
    }

    #[test]
    fn this_machine_s_own_mounts_can_be_read() {
        use std::os::unix::fs::MetadataExt as _;
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        let device = std::fs::metadata("/proc").expect("there").dev();
        let device = (rustix::fs::major(device), rustix::fs::minor(device));
        assert_eq!(kind_of(&mounts, device).as_deref(), Some("proc"));
        assert!(is_mount(Path::new("/proc")));
        assert!(!is_mount(Path::new("/proc/self/mountinfo")));
    }
}
