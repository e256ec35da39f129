//! What giving the CPU up costs: sched_yield, which spinning applications put into their loops.
//!
//! With nobody else on the run queue the scheduler looks, finds the caller and returns: that is the cost of a system call
//! and of the scheduler's lock. With somebody there a sample is as long as they ran, and the thread's own account tells
//! that it waited ([`Sample::waited`](crate::Sample::waited)). Under the fair scheduler that is whoever the kernel
//! thinks is due, under fifo only threads of the same priority.

use crate::bursts::Operation;

/// One sched_yield.
pub struct SchedYield;

impl Operation for SchedYield {
    #[inline]
    fn perform(&mut self) -> bool {
        std::thread::yield_now(); // sched_yield and nothing else, which cannot fail on Linux (sched_yield(2))
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use crate::bursts::tests::check_is_real;

    #[test]
    fn giving_the_cpu_up_is_dearer_than_keeping_it() {
        check_is_real(Kind::SchedYield, SchedYield);
    }
}
