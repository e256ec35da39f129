//! Who kept a CPU for himself over a while, and which of the kernel's threads waited behind him.
//!
//! One look cannot tell: a real-time thread that is runnable now may have woken this instant. Two looks can. A thread that
//! was runnable in both and got most of the time between them had its CPU for that while, and a thread of the kernel that
//! was runnable there in both and got nothing did not come to run: whoever waits for that one's work waits for the first.
//! Times are those of `/proc/PID/task/TID/stat`, in ticks of 10 ms, so the looks must lie many ticks apart.

use std::cmp::Reverse;

use units::Nanos;

use crate::tasks::{Occupant, Stat, runnable};
use crate::{Error, Root};

/// The threads that bear on the question and were runnable at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// When, by whatever clock the caller goes by.
    pub at: Nanos,
    runnable: Vec<Occupant>,
}

/// A real-time thread that had its CPU between two samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupation {
    /// Who, as of the later sample.
    pub by: Occupant,
    /// How much of the time between was its.
    pub had: Nanos,
    /// The kernel's own threads that were runnable on that CPU in both samples and did not come to run.
    pub waiting: Vec<Stat>,
}

impl Sample {
    /// Looks now, which is `at`. Reads one file a thread of the machine (14 us each, 2-vCPU VM).
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Format`].
    pub fn take(root: &Root, at: Nanos) -> Result<Self, Error> {
        let runnable = runnable(root, |stat| stat.class.is_realtime() || stat.is_kernel)?;
        Ok(Self { at, runnable })
    }

    /// Who had a CPU from `earlier` until now: first those behind whom somebody waits, then by CPU.
    #[must_use]
    pub fn occupations_since(&self, earlier: &Self) -> Vec<Occupation> {
        let between = self.at - earlier.at;
        let had = |now: &Occupant| {
            let is_it = |then: &&Occupant| then.identity() == now.identity();
            let then = earlier.runnable.iter().find(is_it)?;
            Some(now.stat.cpu_time - then.stat.cpu_time)
        };
        let occupation = |now: &Occupant| {
            let had = had(now)?;
            let is_long = had > Nanos::ZERO && had.times(SHARE.1) >= between.times(SHARE.0);
            (now.stat.class.is_realtime() && is_long).then(|| Occupation {
                by: now.clone(),
                had,
                waiting: Vec::new(),
            })
        };
        let mut occupations: Vec<Occupation> = self.runnable.iter().filter_map(occupation).collect();
        for occupation in &mut occupations {
            let waits = |thread: &&Occupant| {
                thread.stat.is_kernel
                    && thread.stat.cpu == occupation.by.stat.cpu
                    && had(thread) == Some(Nanos::ZERO)
            };
            occupation.waiting =
                self.runnable.iter().filter(waits).map(|thread| thread.stat.clone()).collect();
        }
        occupations.sort_by_key(|occupation| {
            (Reverse(!occupation.waiting.is_empty()), occupation.by.stat.cpu, occupation.by.stat.tid)
        });
        occupations
    }
}

/// The share of the time that makes an occupation: two thirds. The kernel takes a twentieth of each second from real-time
/// threads (sched_rt_runtime_us, fair server), all at once at its end, so that of 200 ms 50 may be missing.
const SHARE: (u64, u64) = (2, 3);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::tests::{BOUND, SPINNER};

    /// A tree with one thread a process: number, line of `stat`.
    fn tree(threads: &[(u32, String)]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("proc")).unwrap();
        for (number, line) in threads {
            let place = dir.path().join(format!("proc/{number}/task/{number}"));
            std::fs::create_dir_all(&place).unwrap();
            std::fs::write(place.join("stat"), line).unwrap();
        }
        let root = Root::at(dir.path());
        (dir, root)
    }

    /// The spinner of the line above with this number, CPU and ticks of time.
    fn spinner(number: u32, cpu: u32, ticks: u32) -> (u32, String) {
        let line = SPINNER
            .replace("12959 (NAME)", &format!("{number} (spin)"))
            .replace(" 1 0 51 0 ", &format!(" 1 0 {ticks} 0 "))
            .replace(" 17 0 50 1 ", &format!(" 17 {cpu} 50 1 "));
        (number, line)
    }

    /// A thread of the kernel on CPU 1 that waits for it.
    fn worker(number: u32, ticks: u32) -> (u32, String) {
        let line = BOUND
            .replace("21 (migration/1) S", &format!("{number} (kworker/1:2) R"))
            .replace(" 0 0 0 27 0 0 ", &format!(" 0 0 0 {ticks} 0 0 "))
            .replace(" 17 1 99 1 ", " 17 1 0 0 ");
        (number, line)
    }

    #[track_caller]
    fn check(earlier: &[(u32, String)], later: &[(u32, String)], expected: &[&str]) {
        let sample = |threads: &[(u32, String)], at: u64| {
            let (_dir, root) = tree(threads);
            Sample::take(&root, Nanos::from_millis(at)).unwrap()
        };
        let told: Vec<String> = sample(later, 1200)
            .occupations_since(&sample(earlier, 1000))
            .iter()
            .map(|one| {
                let names: Vec<&str> = one.waiting.iter().map(|stat| stat.name.as_str()).collect();
                format!("{} on {} for {}: {}", one.by.stat.tid, one.by.stat.cpu, one.had, names.join(" "))
            })
            .collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn who_had_a_cpu_for_a_while() {
        let runs = |cpu, from, to| (spinner(7, cpu, from), spinner(7, cpu, to));
        let (before, after) = runs(0, 51, 71);
        check(std::slice::from_ref(&before), std::slice::from_ref(&after), &["7 on 0 for 200 ms: "]);
        check(std::slice::from_ref(&before), &[spinner(7, 0, 52)], &[]); // it was runnable and got next to nothing
        check(std::slice::from_ref(&before), &[spinner(7, 0, 66)], &["7 on 0 for 150 ms: "]); // throttled for the rest
        check(&[], std::slice::from_ref(&after), &[]); // it came in between
        check(std::slice::from_ref(&before), &[spinner(8, 0, 71)], &[]); // somebody else
        check(&[before], &[], &[]);
    }

    #[test]
    fn whose_cpu_somebody_waits_for_comes_first_and_all_are_told() {
        let earlier = [spinner(7, 0, 0), spinner(8, 1, 0), spinner(9, 2, 0), worker(30, 4), worker(31, 4)];
        let later = [spinner(7, 0, 20), spinner(8, 1, 20), spinner(9, 2, 19), worker(30, 4), worker(31, 5)];
        let expected = ["8 on 1 for 200 ms: kworker/1:2", "7 on 0 for 200 ms: ", "9 on 2 for 190 ms: "];
        check(&earlier, &later, &expected);
    }
}
