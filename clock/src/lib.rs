//! Time stamps: invariant-TSC detection, calibration with an error bound, fall-back, mock.
