//! What the process uses, as the kernel counts it, and how much of that is spread over arenas.

/// Bytes of resident memory; 0 where the kernel does not say.
pub fn resident() -> usize {
    field("VmRSS:")
}

/// The most bytes of resident memory so far.
pub fn peak() -> usize {
    field("VmHWM:")
}

fn field(name: &str) -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = text.lines().find_map(|line| {
        line.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()
    });
    kilobytes.map_or(0, |kilobytes| kilobytes * 1024)
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
