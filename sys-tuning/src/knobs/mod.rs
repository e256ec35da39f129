//! The knobs, one module a group: what is declared about each, what a profile's values come to, and where its cells stand.
//!
//! A knob only plans; nothing here reads or writes a file. Ids, values and sources are those of the guides named in each
//! `source`.
//!
//! **To add a knob that is files with one value each**, add a row to its group and the row to `ALL` in `registry.rs` (its
//! place there is the order of writing); there is no code to write:
//!
//! ```text
//! pub(crate) static KSM: Knob = Knob {
//!     id: "mem.ksm",
//!     group: Group::Memory,
//!     doc: "what it costs when it is not set",
//!     attributes: &[
//!         Attribute::at("run", Kind::Integer { min: 0, max: 2 }, "with its unit", Home::File("/sys/kernel/mm/ksm/run"))
//!             .seen(Sign::Flat(&Flat { of: &["0"], counters: &["ksm_swpin_copy"], unless: &[] })),
//!     ],
//!     source: "0: which guide",
//!     absence: Absence::Satisfied("why its absence is no loss"),
//!     effect: "how the effect is seen, in words",
//!     ..PLAIN // or ARGUMENT for the boot line, FIRMWARE for what is only reported
//! };
//! ```
//!
//! [`Home`](crate::registry::Home) says where an attribute stands: a sysctl, a file, every file of a pattern (then a
//! `Home::Chooser` attribute may say for which CPUs), or an argument of the kernel's command line, which is then known to
//! the boot line's grammar too. [`Sign`](crate::registry::Sign) says where its effect is seen, for arguments as well.
//! `needs`, `blast`, `undo`, `side_effects` and an attribute's own `absent(..)` are said where they differ.
//!
//! **A knob that must compute** (budgets, CPUs, several files that are one value) gives attributes no home
//! (`Attribute::new`) and has its own `wish` and `locate`, in a file of its own below its group; a knob may have both kinds,
//! and calls `declared::wish` for the first. Then: a row in the tests of its group, and
//! `cargo run -q -- tune explain --markdown > docs/knobs.md`. The registry's tests ask for all of this.

pub(crate) mod accounting;
pub(crate) mod boot_line;
pub(crate) mod clock;
pub(crate) mod firmware;
pub(crate) mod interrupts;
pub(crate) mod isolation;
pub(crate) mod memory;
pub(crate) mod network;
pub(crate) mod power;
pub(crate) mod security;
