//! What the process uses, as the kernel counts it, what it may use, and how much is spread over arenas.

use std::path::{Path, PathBuf};

/// Bytes of resident memory; 0 where the kernel does not say.
pub fn resident() -> usize {
    kilobytes("/proc/self/status", "VmRSS:").unwrap_or_default()
}

/// The most bytes of resident memory so far.
pub fn peak() -> usize {
    kilobytes("/proc/self/status", "VmHWM:").unwrap_or_default()
}

/// Bytes that the process can have before the kernel ends it: the memory of the machine, or less where its control
/// group says so, as in a container. None where the kernel does not say.
pub fn most() -> Option<usize> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let machine = kilobytes("/proc/meminfo", "MemTotal:");
    groups.lines().flat_map(limits_of).filter_map(|file| bytes_in(&file)).chain(machine).min()
}

/// Bytes that the machine still has for anybody; None where the kernel does not say.
pub fn available() -> Option<usize> {
    kilobytes("/proc/meminfo", "MemAvailable:")
}

/// The bytes on the line of a file that begins with a name and says kilobytes.
fn kilobytes(file: &str, name: &str) -> Option<usize> {
    let text = std::fs::read_to_string(file).ok()?;
    let kilobytes = text.lines().find_map(|line| {
        line.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()
    });
    kilobytes.map(|kilobytes| kilobytes * 1024)
}

/// The files with the limits of a control group and of those around it, from a line of `/proc/self/cgroup`:
/// `0::/system.slice/x` in version 2, `4:memory:/x` in version 1. A container sees its own group as the root.
fn limits_of(line: &str) -> Vec<PathBuf> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (root, file) = match parts.next() {
        Some("") => ("/sys/fs/cgroup", "memory.max"),
        Some(of) if of.split(',').any(|one| one == "memory") => {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return Vec::new(),
    };
    let group = Path::new(parts.next().unwrap_or_default().trim_start_matches('/'));
    group.ancestors().map(|group| Path::new(root).join(group).join(file)).collect()
}

/// A limit; None where there is none (`max`).
fn bytes_in(file: &Path) -> Option<usize> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// Gives memory back to the system that malloc keeps: what has been freed lies between what has not.
#[allow(unsafe_code, reason = "glibc has no safe way to say it")]
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn malloc_trim(pad: usize) -> std::ffi::c_int;
        }
        // SAFETY: it takes a number, and may be called at any time on any thread.
        unsafe { malloc_trim(0) };
    }
}

/// Bounds how many arenas glibc's malloc has. It makes eight for each core: every one keeps for its threads
/// what they have freed, and in a server that passes buffers from readers to workers to the committer a
/// third of the memory was such. Without glibc it does nothing. To be called before threads are started.
#[allow(unsafe_code, reason = "glibc has no safe way to say it")]
pub fn bound_arenas(arenas: usize) {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use std::ffi::c_int;

        unsafe extern "C" {
            fn mallopt(parameter: c_int, value: c_int) -> c_int;
        }
        const M_ARENA_MAX: c_int = -8;
        let arenas = c_int::try_from(arenas).unwrap_or(c_int::MAX);
        // SAFETY: it takes two numbers, and changes what malloc does from then on.
        if unsafe { mallopt(M_ARENA_MAX, arenas) } == 0 {
            tracing::debug!("malloc does not bound its arenas");
        }
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    let _ = arenas;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_of_all_groups_around_a_process_are_found() {
        let root = Path::new("/sys/fs/cgroup");
        let wanted = ["a/b/memory.max", "a/memory.max", "memory.max"].map(|file| root.join(file));
        assert_eq!(limits_of("0::/a/b"), wanted);
        let wanted = ["memory/c/memory.limit_in_bytes", "memory/memory.limit_in_bytes"];
        assert_eq!(limits_of("4:hugetlb,memory:/c"), wanted.map(|file| root.join(file)));
        assert!(limits_of("3:cpu:/c").is_empty());
    }

    #[test]
    fn the_kernel_says_what_there_is() {
        let (most, available) = (most().unwrap(), available().unwrap());
        assert!(resident() > 0 && resident() <= peak() && peak() < most, "{most}");
        assert!(available > 0);
    }
}
