//! What the process uses, as the kernel counts it.

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
