//! What the first touch of a page costs: the fault, a zeroed page, its entry in the page table.
//!
//! A burst's pages are mapped before it and unmapped after it, untimed, and each is touched once. They are kept small
//! (MADV_NOHUGEPAGE): otherwise one touch in 512 would take a huge page and the rest nothing. Where the process locks
//! its memory, locking the page is part of the fault, as it is for an application that does the same.

use std::hint::black_box;

use memmap2::{Advice, MmapMut, MmapOptions};

use crate::bursts::Operation;

/// Bytes from one touch to the next: a page on x86-64.
const PAGE: usize = 4096;

/// One first touch a call.
#[derive(Default)]
pub struct FirstTouch {
    pages: Option<MmapMut>,
    touched: usize,
}

impl Operation for FirstTouch {
    fn prepare(&mut self, calls: u32) -> bool {
        self.pages = usize::try_from(calls)
            .ok()
            .and_then(|calls| MmapOptions::new().len(calls * PAGE).map_anon().ok());
        self.touched = 0;
        // Refused by a kernel that has no transparent huge pages, where there is nothing to keep off.
        let _ = self.pages.as_ref().map(|pages| pages.advise(Advice::NoHugePage));
        self.pages.is_some()
    }

    #[inline]
    fn perform(&mut self) -> bool {
        let byte = self.pages.as_mut().and_then(|pages| pages.get_mut(self.touched * PAGE));
        self.touched += 1;
        // The second box sees the byte written, so that the compiler cannot put the touch off.
        byte.map(|byte| *black_box(&mut *byte) = 1).map(black_box).is_some()
    }

    fn clean_up(&mut self) {
        self.pages = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use crate::bursts::tests::check_is_real;
    use nix::sys::resource::{UsageWho, getrusage};

    fn faults() -> i64 {
        getrusage(UsageWho::RUSAGE_THREAD).unwrap().minor_page_faults()
    }

    #[test]
    fn a_first_touch_is_dearer_than_none() {
        check_is_real(Kind::MinorFault, FirstTouch::default());
    }

    #[test]
    fn each_call_is_one_fault_and_only_so_many_are_prepared() {
        let mut touch = FirstTouch::default();
        assert!(!touch.perform(), "nothing is mapped yet");
        assert!(touch.prepare(1_000));
        let before = faults();
        for call in 0..1_000 {
            assert!(touch.perform(), "call {call}");
        }
        let took = faults() - before;
        println!("{took} faults in 1000 calls");
        assert!((1_000..1_100).contains(&took), "{took} faults in 1000 calls"); // a few may be the test's own
        assert!(!touch.perform(), "no page is touched twice");
        touch.clean_up();
        assert!(!touch.perform(), "nothing is mapped any more");
    }
}
