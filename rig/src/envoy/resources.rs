//! CPU time and memory of a process.
//!
//! In: a process id. Out: its CPU time, from its clock, and its memory, from Linux's `/proc`. Not
//! here: per-thread figures.

use core::time::Duration;
use std::fs;

use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

/// A reading; two of them make a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    /// User and system time of all threads since the start.
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
        let id = Pid::from_raw(pid.try_into().expect("ids of processes are positive"));
        let cpu = clock_getcpuclockid(id).and_then(ClockId::now);
        let cpu = cpu.unwrap_or_else(|error| panic!("the CPU time of process {pid}: {error}"));
        let path = format!("/proc/{pid}/status");
        let status = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let resident = resident_kib(&status).expect("proc(5): status has VmRSS");
        Self { cpu: cpu.into(), resident: resident * 1024 }
    }
}

fn resident_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_time_and_memory() {
        let before = Resources::of(std::process::id());
        let sum: u64 = (0..std::hint::black_box(1_000_000)).map(std::hint::black_box).sum();
        assert!(std::hint::black_box(sum) > 0);
        assert!(Resources::of(std::process::id()).cpu > before.cpu);
        assert!(before.resident > 100_000);
    }
}
