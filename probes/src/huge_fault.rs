//! What the first touch of a huge page costs: 2 MiB from the host's own pool, zeroed while somebody waits.
//!
//! One page a burst, mapped before it and given back after it, untimed. The pool belongs to the host's applications: a
//! page is taken only while more are free, beyond those promised to somebody, than there are threads of ours to take
//! one, so that the last page is never ours. Without that the burst is left out and
//! [counted](crate::Counters::failed).
//!
//! The kernel is asked to do the fault (MADV_POPULATE_WRITE) and not made to by a touch: it walks the same path, and where
//! there is no page after all (a cgroup's limit, another memory node) it refuses, while a touch would end the process.

use std::fs::File;
use std::os::unix::fs::FileExt;

use memmap2::{Advice, MmapMut, MmapOptions};

use crate::bursts::Operation;

/// Format of both: "12\n" (Documentation/admin-guide/mm/hugetlbpage.rst).
const FREE: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";
const PROMISED: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages";

/// A page, as its size and as the exponent that mmap takes.
const HUGE_PAGE: usize = 1 << HUGE_PAGE_BITS;
const HUGE_PAGE_BITS: u8 = 21;

/// One first touch a burst.
pub struct FirstTouch {
    /// What is free and what of it is promised; `None` where the kernel has no such pool.
    pool: Option<(File, File)>,
    /// Threads that may each hold one at the same time.
    takers: u64,
    page: Option<MmapMut>,
}

impl FirstTouch {
    /// For one of so many threads that measure.
    pub fn open(takers: usize) -> Self {
        let pool = File::open(FREE).and_then(|free| Ok((free, File::open(PROMISED)?))).ok();
        Self { pool, takers: u64::try_from(takers).unwrap_or(u64::MAX), page: None }
    }

    /// Whether the pool can spare a page for each thread.
    fn to_spare(&self) -> bool {
        let counts = self.pool.as_ref().and_then(|(free, promised)| Some((count(free)?, count(promised)?)));
        counts.is_some_and(|(free, promised)| spares(free, promised, self.takers))
    }
}

impl Operation for FirstTouch {
    /// Each call takes a page, and the zeroing that nearly all of it is knows no warm path.
    const WARM_UP_CALLS: u32 = 0;

    fn prepare(&mut self, _calls: u32) -> bool {
        let mut options = MmapOptions::new();
        options.len(HUGE_PAGE).huge(Some(HUGE_PAGE_BITS));
        self.page = self.to_spare().then(|| options.map_anon().ok()).flatten();
        self.page.is_some()
    }

    #[inline]
    fn perform(&mut self) -> bool {
        self.page.as_ref().is_some_and(|page| page.advise(Advice::PopulateWrite).is_ok())
    }

    fn clean_up(&mut self) {
        self.page = None;
    }
}

fn spares(free: u64, promised: u64, takers: u64) -> bool {
    free.saturating_sub(promised) > takers
}

fn count(file: &File) -> Option<u64> {
    let mut text = [0; 32];
    let length = file.read_at(&mut text, 0).ok()?;
    std::str::from_utf8(text.get(..length)?).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use crate::bursts::tests::check_burst;

    #[track_caller]
    fn check(free: u64, promised: u64, takers: u64, expected: bool) {
        assert_eq!(spares(free, promised, takers), expected);
    }

    #[test]
    fn the_last_page_is_never_taken() {
        check(0, 0, 1, false);
        check(1, 0, 1, false); // the last one
        check(2, 0, 1, true);
        check(2, 1, 1, false); // one is promised
        check(4, 0, 4, false); // four threads could take all
        check(5, 0, 4, true);
        check(1, 3, 1, false); // read while somebody took some
    }

    #[test]
    fn a_page_is_taken_from_the_pool_and_comes_back() {
        let mut touch = FirstTouch::open(1);
        if !touch.to_spare() {
            println!("skipped: no two free huge pages of 2 MiB (vm.nr_hugepages)");
            assert!(!touch.prepare(1) && !touch.perform(), "none is taken then");
            return;
        }
        assert!(touch.prepare(1) && touch.perform());
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let ours =
            smaps.lines().any(|line| line.starts_with("Private_Hugetlb:") && line.ends_with(" 2048 kB"));
        assert!(ours, "a huge page of our own is mapped");
        touch.clean_up();
        check_burst(Kind::HugeFault, touch, 1);
    }

    #[test]
    fn without_a_pool_nothing_is_taken() {
        let mut touch = FirstTouch { pool: None, takers: 1, page: None };
        assert!(!touch.prepare(1) && !touch.perform());
    }
}
