//! Registry of knobs and the one engine: profile, plan, apply, verify, drift, rollback.
