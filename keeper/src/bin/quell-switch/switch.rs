//! What is done with a request, in the order that a crash at any point forgives.
//!
//! Claim, look, say what is about to be done, switch the link, say that it is done, let go. Whatever was cut off is
//! carried on by the next run, because the claimed request is still there and the path unit comes back to it.

use std::fmt;
use std::io;
use std::path::Path;

use report::Exit;
use units::Name;

use crate::desk::Desk;
use crate::request::{Answer, Outcome};

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// There is a request to carry out, or to refuse.
    Due,
    /// That generation runs already.
    Already(Name),
    /// Switched.
    Switched { old: Option<Name>, new: Name },
}

impl Done {
    /// Three is no: nothing to restart.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Due | Self::Switched { .. } => Exit::Yes,
            Self::Already(_) => Exit::No,
        }
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Due => f.write_str("a request is due"),
            Self::Already(generation) => write!(f, "generation {generation} runs already"),
            Self::Switched { old: Some(old), new } => write!(f, "switched from generation {old} to {new}"),
            Self::Switched { old: None, new } => write!(f, "switched to generation {new}, the first"),
        }
    }
}

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Because of what it says or leads to.
    #[error("{0}")]
    Request(String),
    /// Because the system did not let us.
    #[error("{path}: cannot {doing}: {cause} (is the file system full or read-only?)")]
    System { path: String, doing: &'static str, cause: io::Error },
}

impl Refusal {
    /// Something is wrong with `path`.
    pub fn request(path: &Path, problem: impl fmt::Display) -> Self {
        Self::Request(format!("{}: {problem}", path.display()))
    }

    /// The system did not let us.
    pub fn system(doing: &'static str, path: &Path, cause: io::Error) -> Self {
        Self::System { path: path.display().to_string(), doing, cause }
    }

    fn outcome(&self) -> Outcome {
        match self {
            Self::Request(_) => Outcome::Refused,
            Self::System { .. } => Outcome::Failed,
        }
    }
}

/// Whether anything is to be done. A request for what runs already is answered here; one that cannot be understood is due,
/// so that [`switch`] refuses it and the unit shows the failure.
///
/// # Errors
/// There is no request, or the answer cannot be written.
pub fn due(desk: &Desk) -> Result<Done, Refusal> {
    desk.claim()?;
    match running(desk) {
        Ok(Some(generation)) => {
            desk.answer(&Answer {
                outcome: Outcome::Already,
                old: Some(generation.clone()),
                new: Some(generation.clone()),
                reason: String::new(),
            })?;
            desk.close()?;
            Ok(Done::Already(generation))
        }
        Ok(None) | Err(_) => Ok(Done::Due),
    }
}

/// The wanted generation, if it runs already and no run was cut off on the way to it.
fn running(desk: &Desk) -> Result<Option<Name>, Refusal> {
    let wanted = desk.request()?.generation;
    let cut_off = desk.interrupted().is_some_and(|(_, new)| new == wanted);
    Ok((!cut_off && desk.component.current()?.as_ref() == Some(&wanted)).then_some(wanted))
}

/// Carries out the request, and answers it whatever comes of it.
///
/// # Errors
/// [`Refusal`], which the answer repeats.
pub fn switch(desk: &Desk) -> Result<Done, Refusal> {
    desk.claim()?;
    let outcome = carry_out(desk);
    if let Err(refusal) = &outcome {
        let answer = Answer {
            outcome: refusal.outcome(),
            old: desk.component.current().ok().flatten(),
            new: desk.request().ok().map(|request| request.generation),
            reason: refusal.to_string(),
        };
        // The first refusal is the one to tell; without room for an answer there is the journal.
        let _ = desk.answer(&answer);
    }
    desk.close()?;
    outcome
}

fn carry_out(desk: &Desk) -> Result<Done, Refusal> {
    let new = desk.request()?.generation;
    desk.component.check_staged(&new)?;
    let old = match desk.interrupted() {
        Some((old, begun)) if begun == new => old, // `current` may be the new one by now
        _ => desk.component.current()?,
    };
    let answer =
        |outcome| Answer { outcome, old: old.clone(), new: Some(new.clone()), reason: String::new() };
    desk.answer(&answer(Outcome::Switching))?;
    desk.component.point_to(&new)?;
    desk.answer(&answer(Outcome::Switched))?;
    Ok(Done::Switched { old, new })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use tempfile::TempDir;

    use super::*;

    /// A component `engine` with the generations 1 and 2, of which 1 runs.
    struct Host {
        folder: TempDir,
        desk: Desk,
    }

    impl Host {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let (switch, base) = (folder.path().join("switch"), folder.path().join("opt"));
            for path in ["switch", "opt/engine/generations/1", "opt/engine/generations/2"] {
                fs::create_dir_all(folder.path().join(path)).unwrap();
            }
            for path in ["opt", "opt/engine", "opt/engine/generations", "opt/engine/generations/2"] {
                fs::set_permissions(folder.path().join(path), fs::Permissions::from_mode(0o755)).unwrap();
            }
            symlink("generations/1", base.join("engine/current")).unwrap();
            let owner = nix::unistd::geteuid().as_raw();
            Self { desk: Desk::new("engine".parse().unwrap(), &switch, &base, owner), folder }
        }

        fn ask(&self, generation: &str) {
            self.write(&format!("quell.switch/1\ncomponent engine\ngeneration {generation}\n"));
        }

        #[expect(clippy::disallowed_methods, reason = "a test's own file")]
        fn write(&self, text: &str) {
            fs::write(self.desk.file("request"), text).unwrap();
            fs::set_permissions(self.desk.file("request"), fs::Permissions::from_mode(0o600)).unwrap();
        }

        fn at(&self, path: &str) -> std::path::PathBuf {
            self.folder.path().join(path)
        }

        fn current(&self) -> String {
            fs::read_link(self.at("opt/engine/current")).unwrap().display().to_string()
        }

        /// Outcome, old, new.
        fn result(&self) -> String {
            let text = fs::read_to_string(self.desk.file("result")).unwrap();
            let words: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once(' ')?.1)).collect();
            words[..3].join(" ")
        }

        fn is_quiet(&self) -> bool {
            ["request", "taken"].iter().all(|suffix| self.desk.file(suffix).symlink_metadata().is_err())
        }

        /// As the unit does it: the second only where the first says that it is due.
        fn run(&self) -> Result<Done, Refusal> {
            match due(&self.desk)? {
                Done::Due => switch(&self.desk),
                done => Ok(done),
            }
        }
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn a_request_is_carried_out_once() {
        let host = Host::new();
        host.ask("2");
        assert_eq!(host.run().unwrap(), Done::Switched { old: Some(name("1")), new: name("2") });
        assert_eq!((host.current().as_str(), host.result().as_str()), ("generations/2", "switched 1 2"));
        assert!(host.is_quiet());
        host.ask("2");
        assert_eq!(host.run().unwrap(), Done::Already(name("2")));
        assert_eq!((host.current().as_str(), host.result().as_str()), ("generations/2", "already 2 2"));
        assert!(host.is_quiet());
        host.ask("1");
        host.run().unwrap();
        assert_eq!(host.result(), "switched 2 1");
        let nobody_asked = host.run().unwrap_err().to_string();
        assert!(nobody_asked.contains("nobody asked for a switch"), "{nobody_asked}");
    }

    #[test]
    fn the_first_generation_has_no_old_one() {
        let host = Host::new();
        fs::remove_file(host.at("opt/engine/current")).unwrap();
        host.ask("1");
        assert_eq!(host.run().unwrap(), Done::Switched { old: None, new: name("1") });
        assert_eq!(host.result(), "switched - 1");
    }

    /// Cut off behind each of its steps, the next run ends it, and it still says that a restart is due.
    #[test]
    fn a_run_that_was_cut_off_is_carried_on() {
        let begun = Answer {
            outcome: Outcome::Switching,
            old: Some(name("1")),
            new: Some(name("2")),
            reason: String::new(),
        };
        let steps: [fn(&Host, &Answer); 4] = [
            |host, _| host.desk.claim().unwrap(),
            |host, begun| host.desk.answer(begun).unwrap(),
            |host, _| symlink("generations/2", host.at("opt/engine/.current.new")).unwrap(),
            |host, _| host.desk.component.point_to(&name("2")).unwrap(),
        ];
        for cut in 1..=steps.len() {
            let host = Host::new();
            host.ask("2");
            steps[..cut].iter().for_each(|step| step(&host, &begun));
            let current = host.current();
            assert!(["generations/1", "generations/2"].contains(&current.as_str()), "{current}");
            assert_eq!(
                host.run().unwrap(),
                Done::Switched { old: Some(name("1")), new: name("2") },
                "after {cut} steps"
            );
            assert_eq!((host.current().as_str(), host.result().as_str()), ("generations/2", "switched 1 2"));
            assert!(host.is_quiet());
        }
    }

    #[test]
    fn a_newer_request_is_not_lost() {
        let host = Host::new();
        host.ask("2");
        host.desk.claim().unwrap();
        host.ask("1"); // comes while the other is carried out
        host.run().unwrap();
        assert_eq!(host.result(), "switched 1 2");
        host.run().unwrap();
        assert_eq!(host.result(), "switched 2 1");
        assert!(host.is_quiet());
    }

    #[track_caller]
    fn check_refused(prepare: impl Fn(&Host), expected: &str) {
        let host = Host::new();
        host.ask("2");
        prepare(&host);
        let refusal = host.run().unwrap_err();
        assert!(matches!(refusal, Refusal::Request(_)), "{refusal}");
        let line = refusal.to_string();
        assert!(line.contains(expected), "{line}");
        let result = fs::read_to_string(host.desk.file("result")).unwrap();
        assert!(result.contains("outcome refused\n") && result.contains(expected), "{result}");
        assert!(host.is_quiet(), "a refused request is not asked again");
        assert_ne!(fs::read_link(host.at("opt/engine/current")).ok(), Some("generations/2".into()));
    }

    fn chmod(host: &Host, path: &str, mode: u32) {
        fs::set_permissions(host.at(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_others_could_change_is_refused() {
        check_refused(|host| chmod(host, "opt/engine/generations/2", 0o775), "mode 0775; it must be root's");
        check_refused(|host| chmod(host, "opt/engine/generations", 0o757), "mode 0757; it must be root's");
        check_refused(|host| chmod(host, "opt/engine", 0o777), "mode 0777; it must be root's");
        check_refused(
            |host| chmod(host, "switch/engine.request", 0o620),
            "mode 0620, 45 bytes; it must be a file",
        );
    }

    #[test]
    fn what_is_not_there_or_something_else_is_refused() {
        check_refused(|host| host.ask("3"), "generations/3: is not there; stage the generation first");
        check_refused(|host| host.write("nonsense\n"), "it has 1 lines");
        check_refused(|host| host.write(&"x".repeat(257)), "257 bytes; it must be a file");
        let link = |host: &Host| {
            fs::remove_dir(host.at("opt/engine/generations/2")).unwrap();
            symlink("/etc", host.at("opt/engine/generations/2")).unwrap();
        };
        check_refused(link, "generations/2: is no folder (links are not followed)");
        let link = |host: &Host| {
            fs::remove_file(host.desk.file("request")).unwrap();
            symlink("/etc/hostname", host.desk.file("request")).unwrap();
        };
        check_refused(link, "is a symbolic link; write a file");
        let elsewhere = |host: &Host| {
            fs::remove_file(host.at("opt/engine/current")).unwrap();
            symlink("/usr", host.at("opt/engine/current")).unwrap();
        };
        check_refused(elsewhere, "leads to \"/usr\" and not to generations/ID");
    }
}
