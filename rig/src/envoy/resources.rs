//! CPU time and memory of a process, from Linux's `/proc`.
//!
//! In: a process id. Out: CPU time and memory. Not here: per-thread figures.

use core::time::Duration;
use std::fs;

/// A reading; two of them make a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    /// User and system time of all threads since the start, in steps of 10 ms.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub resident: u64,
}

impl Resources {
    /// Reads the resources of the process `pid`.
    ///
    /// # Panics
    ///
    /// If the process has ended.
    #[must_use]
    pub fn of(pid: u32) -> Self {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
        };
        let cpu = cpu_ticks(&read("stat")).expect("proc(5): stat has utime and stime");
        let resident = resident_kib(&read("status")).expect("proc(5): status has VmRSS");
        Self { cpu: TICK * u32::try_from(cpu).unwrap_or(u32::MAX), resident: resident * 1024 }
    }
}

/// The unit of times in `/proc`: hundredths of a second on every architecture (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

fn cpu_ticks(stat: &str) -> Option<u64> {
    // The second field is the program's name in parentheses and may contain anything; utime and
    // stime are fields 14 and 15.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

fn resident_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_a_name_with_spaces_and_parentheses() {
        let stat = "42 (en) vo) y) S 1 2 3 4 5 6 7 8 9 10 300 45 0 0 20 0 8 0 100";
        assert_eq!(cpu_ticks(stat), Some(345));
    }

    #[test]
    fn this_process_uses_memory() {
        assert!(Resources::of(std::process::id()).resident > 100_000);
    }
}
