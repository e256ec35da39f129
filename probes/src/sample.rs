//! What a probe hands to the collector.

use units::limits::RING_SAMPLES;
use units::{Nanos, Ticks};

/// One measurement: 24 bytes, plain, in ticks of the clock the probes were started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When it ended: the gap was over, the thread woke, the call returned.
    pub at: Ticks,
    /// How long it took; what that means is the probe's affair ([`PROBES`](crate::PROBES)).
    pub value: Ticks,
    /// Time the thread is known to have waited for its CPU within `value`, in ns, saturating at 4.3 s. Means
    /// something only with [`Flags::WAIT_KNOWN`]; read it through [`Sample::waited`].
    pub waited_ns: u32,
    /// Index into [`Running::channels`](crate::Running::channels).
    pub channel: u16,
    /// What else is known.
    pub flags: Flags,
}

const _: () =
    assert!(size_of::<Sample>() == 24 && RING_SAMPLES * 24 == 384 << 10, "limits::RING_SAMPLES says 384 KiB");

impl Sample {
    /// How long the thread waited on its CPU's run queue during this sample, at least: something else ran there.
    /// `None` when nobody looked (the sample was short) or the kernel does not say. A long sample with little waiting
    /// was not preempted: an interrupt, the hypervisor, the firmware or a fault held the CPU, and this does not say
    /// which.
    #[must_use]
    pub fn waited(&self) -> Option<Nanos> {
        self.flags.contains(Flags::WAIT_KNOWN).then_some(Nanos(u64::from(self.waited_ns)))
    }

    /// Whether this stands for a period that was missed, rather than for a wake-up that happened.
    #[must_use]
    pub fn is_missed(&self) -> bool {
        self.flags.contains(Flags::MISSED)
    }
}

/// Facts about a sample, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(u16);

impl Flags {
    /// Nothing special.
    pub const NONE: Self = Self(0);
    /// A period that passed while the thread was held up: no wake-up of its own, but whoever had wanted this one was
    /// late too. Without these, stalls count once however many periods they swallow (coordinated omission).
    pub const MISSED: Self = Self(1);
    /// [`Sample::waited_ns`] was measured.
    pub const WAIT_KNOWN: Self = Self(2);

    /// Whether all of `others` hold.
    #[must_use]
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }
}
