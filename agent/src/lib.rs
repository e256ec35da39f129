//! The daemon, in the order data moves: sources, collector, evaluator, reporter, sockets.
