//! Words that leave the process: report types, text tables, exit codes.
