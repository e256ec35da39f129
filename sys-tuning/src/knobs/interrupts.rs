//! Where interrupts go.

pub(crate) mod irq_aff;
pub(crate) mod irq_default;
