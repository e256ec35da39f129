//! Histograms, windows, budgets, verdicts: pure, time passed in.
