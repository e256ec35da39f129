//! Measuring the host: one runner, one file a probe, cross-CPU clock check.
