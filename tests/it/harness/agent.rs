//! A running agent with a configuration and a report socket of its own.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use report::Report;
use serde_json::Value;

use super::socket::{Answer, exchange, request};
use super::{Daemon, Quell};

/// A daemon that serves; its signals and notifications are those of [`Daemon`].
pub struct Agent {
    daemon: Daemon,
    quell: Quell,
}

impl Agent {
    /// Starts one on `config` and waits until it is ready.
    #[track_caller]
    pub fn start(config: &str) -> Self {
        Self::of(&Quell::new(), config)
    }

    /// Starts one in the place and the way of `quell`.
    #[track_caller]
    pub fn of(quell: &Quell, config: &str) -> Self {
        quell.file("quell.toml", config);
        let daemon = Self::line(quell).start().ready();
        Self { daemon, quell: quell.clone() }
    }

    /// The command line, for starts that fail.
    pub fn line(quell: &Quell) -> Quell {
        quell.args(["agent", "--config", "quell.toml", "--socket", "report.sock"])
    }

    /// Its report socket.
    pub fn socket(&self) -> PathBuf {
        self.folder().join("report.sock")
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.quell.folder()
    }

    /// `quell VERB --socket …`, run by whoever runs the tests.
    pub fn reader(&self, verb: &str) -> Quell {
        Quell::new().args([verb.into(), "--socket".into(), self.socket().into_os_string()])
    }

    /// Asks for `path`.
    #[track_caller]
    pub fn ask(&self, path: &str) -> Answer {
        exchange(&self.socket(), request(path).as_bytes())
    }

    /// Its report about everything since it started.
    #[track_caller]
    pub fn report(&self) -> Report {
        let answer = self.ask("/v1/report?window=all");
        assert_eq!(answer.status, Some(200), "{answer:?}");
        Report::from_json(&answer.body).unwrap()
    }

    /// Its budgets, as `quell.budgets/1`.
    #[track_caller]
    pub fn budgets(&self) -> Value {
        self.ask("/v1/budgets").json("quell.budgets/1")["budgets"].clone()
    }

    /// Changes its configuration file; it learns of that by SIGHUP.
    pub fn reconfigure(&self, config: &str) {
        self.quell.file("quell.toml", config);
    }

    /// As [`Daemon::stop`].
    #[track_caller]
    pub fn stop(self) -> super::Output {
        self.daemon.stop()
    }

    /// As [`Daemon::wait`].
    #[track_caller]
    pub fn wait(self) -> super::Output {
        self.daemon.wait()
    }
}

impl Deref for Agent {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        &self.daemon
    }
}

impl DerefMut for Agent {
    fn deref_mut(&mut self) -> &mut Daemon {
        &mut self.daemon
    }
}
