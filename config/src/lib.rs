//! TOML into checked values: unknown keys refused, all mistakes at once with file:line, layers with their source.
