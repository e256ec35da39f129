//! Documents as plain text for a terminal.
