//! The resident memory of this process.

/// Returns the resident memory in KiB. Returns `None` if the system does not report it.
#[cfg(target_os = "linux")]
pub(crate) fn resident_kib() -> Option<u64> {
    parse(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// Returns `None`: this program reads the memory only on Linux.
#[cfg(not(target_os = "linux"))]
pub(crate) fn resident_kib() -> Option<u64> {
    None
}

/// Source: proc_pid_status(5): the unit of `VmRSS` is always `kB`, which means 1,024 bytes.
#[cfg(any(test, target_os = "linux"))]
fn parse(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|it| it.strip_prefix("VmRSS:"))?;
    value.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_resident_memory_of_a_status() {
        for (status, expected) in [
            ("Name:\tx\nVmHWM:\t    9000 kB\nVmRSS:\t    8124 kB\nRssAnon:\t 1 kB\n", Some(8124)),
            ("Name:\tx\n", None),
            ("VmRSS:\tmany kB\n", None),
        ] {
            assert_eq!(parse(status), expected, "{status:?}");
        }
    }
}
