//! The ceiling that root sets: what the keeper may do, for whoever asks.
//!
//! Neither the agent nor anybody behind it can go beyond it. Without a file nothing is allowed but looking. A file that
//! somebody else than root could have written is not believed, and neither is a profile it names.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use config::{Document, Mistakes, Place, Section};
use nix::sys::stat::{SFlag, fstat};
use orders::Kind;
use sys_tuning::{Profile, Trading, registry};
use units::limits::{CHANGES_PER_HOUR_MAX, CONFIG_BYTES_MAX};
use units::{Name, Nanos};

/// What is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The profile a host is brought to before root asked for one; `None` leaves it as it is.
    pub profile: Option<String>,
    /// The profiles the keeper may hold the host to; `None` is whichever root asks for.
    pub profiles: Option<Vec<String>>,
    /// The orders that are carried out, beside those that only look.
    pub allow: Vec<Kind>,
    /// Whether drift is put back without anybody asking.
    pub repair: bool,
    /// Knobs that are told when they drift and never put back, by nobody's order.
    pub repair_except: Vec<String>,
    /// Values written in an hour, for orders and repairs together.
    pub changes_per_hour_max: u32,
    /// Rounds after which another writer is left to have its way.
    pub fight_rounds: u32,
    /// How long a repaired value must stay for the next drift not to be a round of the same fight.
    pub settle: Nanos,
    /// How long after the boot other services may still be setting themselves up: no fights are counted.
    pub boot_settle: Nanos,
    /// The user the agent runs as.
    pub agent_user: Name,
    /// The latency `quell-hold` asks of all CPUs, in microseconds; `None` asks for nothing.
    pub hold_latency_us: Option<u32>,
    /// Whether `quell-hold` keeps the stamping of packets on.
    pub hold_timestamps: bool,
    /// When the host trades, and what may be changed meanwhile.
    pub trading: Trading,
}

impl Default for Policy {
    /// Nothing is allowed but looking.
    fn default() -> Self {
        Self {
            profile: None,
            profiles: None,
            allow: Vec::new(),
            repair: false,
            repair_except: Vec::new(),
            changes_per_hour_max: 60,
            fight_rounds: 3,
            settle: Nanos::from_secs(10),
            boot_settle: Nanos::from_secs(60),
            agent_user: "quell".parse().expect("a built-in name is one"),
            hold_latency_us: None,
            hold_timestamps: false,
            trading: Trading::NEVER,
        }
    }
}

/// The word that stands for no profile.
const NO_PROFILE: &str = "none";

/// The word that stands for every profile, and for no bound on latency.
const ANY: &str = "any";

/// Rounds of a fight: with none every foreign value would be left, with more than these it would be flapping.
const FIGHT_ROUNDS: std::ops::RangeInclusive<i64> = 1..=100;

/// The longest time to settle; beyond it a fight would never be over.
const SETTLE_MAX: Nanos = Nanos::from_secs(3600);

/// Latencies that can be asked for: an s32 of microseconds, of which more than a second means nothing.
pub const HOLD_LATENCY_US: std::ops::RangeInclusive<i64> = 0..=1_000_000;

impl Policy {
    /// The policy in the file at `path`; the built-in ceiling when there is none and nobody named it.
    ///
    /// # Errors
    /// Every mistake, with its line; a file that is not root's alone.
    pub fn read(path: &Path, is_named: bool) -> Result<Self, Mistakes> {
        let name = path.display().to_string();
        let failed = |problem: String| {
            let mistakes = Mistakes::default();
            mistakes.add(&Place::named(&name), problem);
            mistakes
        };
        let text = match trusted(path) {
            Ok(text) => text,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound && !is_named => return Ok(Self::default()),
            Err(cause) => return Err(failed(format!("cannot be used: {cause}"))),
        };
        Self::parse(&name, &text)
    }

    /// The policy in `text`, which stands in the file `name`.
    ///
    /// # Errors
    /// Every mistake, with its line.
    pub fn parse(name: &str, text: &str) -> Result<Self, Mistakes> {
        let document = Document::parse(name, text)?;
        let mistakes = Mistakes::default();
        let top = Section::top(std::slice::from_ref(&document), &mistakes);
        let default = Self::default();
        let profile = top.string("profile").filter(|found| found.value != NO_PROFILE);
        let profiles = profiles(&top);
        let integer = |key, range, default: u32| {
            let found = top.integer(key, range).and_then(|found| u32::try_from(found.value).ok());
            found.unwrap_or(default)
        };
        if let (Some(profile), Some(profiles)) = (&profile, &profiles)
            && !profiles.contains(&profile.value)
        {
            let problem = format!("profile {:?} is not among profiles", profile.value);
            top.mistake(&profile.place, problem);
        }
        let (hold_latency_us, hold_timestamps) = hold(&top);
        let policy = Self {
            profile: profile.map(|found| found.value),
            profiles,
            allow: top
                .list::<Kind>("allow")
                .map_or(default.allow, |found| found.value.into_iter().map(|kind| kind.value).collect()),
            repair: top.boolean("repair").map_or(default.repair, |found| found.value),
            repair_except: repair_except(&top),
            changes_per_hour_max: integer(
                "max_changes_per_hour",
                0..=i64::from(CHANGES_PER_HOUR_MAX),
                default.changes_per_hour_max,
            ),
            fight_rounds: integer("fight_rounds", FIGHT_ROUNDS, default.fight_rounds),
            settle: span(&top, "settle", default.settle),
            boot_settle: span(&top, "boot_settle", default.boot_settle),
            agent_user: top.parsed("agent_user").map_or(default.agent_user, |found| found.value),
            hold_latency_us,
            hold_timestamps,
            trading: Trading::parse(&top),
        };
        top.finish();
        mistakes.into_result(policy)
    }

    /// Whether an order of this kind is carried out.
    #[must_use]
    pub fn allows(&self, kind: Kind) -> bool {
        kind.only_reads() || self.allow.contains(&kind)
    }

    /// Whether drift of this knob is left as it is.
    #[must_use]
    pub fn leaves(&self, knob: &str) -> bool {
        self.repair_except.iter().any(|left| left == knob)
    }

    /// Whether the host may be held to the profile of this name.
    #[must_use]
    pub fn allows_profile(&self, name: &str) -> bool {
        self.profiles.as_ref().is_none_or(|profiles| profiles.iter().any(|allowed| allowed == name))
    }

    /// The profile to bring the host to, checked; `None` when it is to be left as it is.
    ///
    /// # Errors
    /// The mistakes of its files, or whose they are, on one line each.
    pub fn load_profile(&self) -> Result<Option<Profile>, String> {
        let Some(name) = &self.profile else { return Ok(None) };
        let profile = Profile::load(name).map_err(|error| error.to_string())?;
        for source in profile.sources.iter().filter(|source| source.starts_with('/')) {
            trusted(Path::new(source)).map_err(|cause| format!("{source}: cannot be used: {cause}"))?;
        }
        Ok(Some(profile))
    }
}

fn profiles(top: &Section<'_>) -> Option<Vec<String>> {
    let names: Vec<String> =
        top.list::<String>("profiles")?.value.into_iter().map(|name| name.value).collect();
    (names != [ANY]).then_some(names)
}

fn repair_except(top: &Section<'_>) -> Vec<String> {
    let Some(ids) = top.list::<String>("repair_except") else { return Vec::new() };
    for id in ids.value.iter().filter(|id| registry::find(&id.value).is_none()) {
        top.mistake(&id.place, format!("repair_except: there is no knob {:?}", id.value));
    }
    ids.value.into_iter().map(|id| id.value).collect()
}

fn span(top: &Section<'_>, key: &str, default: Nanos) -> Nanos {
    let Some(found) = top.parsed::<Nanos>(key) else { return default };
    if found.value > SETTLE_MAX {
        top.mistake(&found.place, format!("{key} = {} is more than {SETTLE_MAX}", found.value));
    }
    found.value
}

fn hold(top: &Section<'_>) -> (Option<u32>, bool) {
    let hold = top.section("hold");
    let is_any =
        hold.value("latency_us").is_some_and(|node| node.value == config::Value::String(ANY.to_owned()));
    let latency = if is_any { None } else { hold.integer("latency_us", HOLD_LATENCY_US) };
    let timestamps = hold.boolean("timestamps").is_some_and(|found| found.value);
    hold.finish();
    (latency.and_then(|found| u32::try_from(found.value).ok()), timestamps)
}

/// The text of a file that only root (or whoever runs this) can have written.
fn trusted(path: &Path) -> io::Result<String> {
    let refused = |problem: &str| io::Error::new(io::ErrorKind::InvalidData, problem.to_owned());
    let file = File::open(path)?;
    let stat = fstat(&file)?;
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    match () {
        () if kind != SFlag::S_IFREG => return Err(refused("not a regular file")),
        () if stat.st_uid != 0 && stat.st_uid != host::own::user().as_raw() => {
            return Err(refused("it does not belong to root (chown root: it)"));
        }
        () if stat.st_mode & 0o022 != 0 => {
            return Err(refused("others can write it (chmod go-w it)"));
        }
        () => {}
    }
    let mut text = String::new();
    file.take(CONFIG_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
    match text.len() > CONFIG_BYTES_MAX {
        true => Err(refused("larger than any policy")),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_example_states_the_defaults() {
        let example = include_str!("../../config/policy.toml");
        assert_eq!(Policy::parse("policy.toml", example).unwrap(), Policy::default());
        let keys = [
            "profile",
            "profiles",
            "allow",
            "repair",
            "repair_except",
            "max_changes_per_hour",
            "fight_rounds",
            "settle",
            "boot_settle",
            "agent_user",
            "latency_us",
        ];
        for key in keys {
            let stated = example.lines().any(|line| line.starts_with(&format!("{key} = ")));
            assert!(stated, "{key} is not in the example");
        }
    }

    #[test]
    fn what_is_said_counts() {
        let policy = Policy::parse(
            "p",
            "profile = 'balanced'\nprofiles = ['balanced', 'observe']\nallow = ['repair', 'evacuate']\nrepair = true\n\
             repair_except = ['mem.thp']\nmax_changes_per_hour = 5\nfight_rounds = 2\n\
             settle = '1s'\nboot_settle = '2s'\nagent_user = 'nobody'\n[hold]\nlatency_us = 10\ntimestamps = true\n",
        );
        let expected = Policy {
            profile: Some("balanced".into()),
            profiles: Some(vec!["balanced".into(), "observe".into()]),
            allow: vec![Kind::Repair, Kind::Evacuate],
            repair: true,
            repair_except: vec!["mem.thp".into()],
            changes_per_hour_max: 5,
            fight_rounds: 2,
            settle: Nanos::from_secs(1),
            boot_settle: Nanos::from_secs(2),
            agent_user: "nobody".parse().unwrap(),
            hold_latency_us: Some(10),
            hold_timestamps: true,
            trading: Trading::NEVER,
        };
        assert_eq!(policy.unwrap(), expected);
        assert!(
            expected.allows(Kind::Repair) && expected.allows(Kind::Status) && !expected.allows(Kind::Fence)
        );
        assert!(expected.leaves("mem.thp") && !expected.leaves("mem.swap"));
        assert!(expected.allows_profile("observe") && !expected.allows_profile("colo"));
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(Policy::parse("p", text).unwrap_err().to_string(), expected);
    }

    #[test]
    fn every_mistake_at_once() {
        check(
            "profil = 'x'\nallow = ['repairs']\nrepair = 1\nmax_changes_per_hour = -1\nfight_rounds = 0\nsettle = '2h'\n\
             agent_user = 'a b'\n[hold]\nlatency_us = 'low'\n",
            "p:1: unknown key \"profil\"; did you mean \"profile\"?\n\
             p:2: allow: \"repairs\" is no order; did you mean \"repair\"?\n\
             p:3: repair must be true or false, not an integer\n\
             p:4: max_changes_per_hour = -1 is outside 0 to 10000\n\
             p:5: fight_rounds = 0 is outside 1 to 100\n\
             p:6: settle = 7200 s is more than 3600 s\n\
             p:7: agent_user: \"a b\": a name is 1 to 64 of a-z 0-9 . _ - and begins with a letter or digit\n\
             p:9: hold.latency_us must be an integer, not a string",
        );
        check(
            "repair_except = ['mem.thp', 'mem.nothing']\n",
            "p:1: repair_except: there is no knob \"mem.nothing\"",
        );
        check(
            "[[trading]]\nname = 'x'\nday = ['mon']\n",
            "p:1: days is missing\np:1: from is missing\np:1: to is missing\np:1: zone is missing\np:3: unknown key \"trading.day\"; did you mean \"days\"?",
        );
        check("profile = 'colo'\nprofiles = ['balanced']\n", "p:1: profile \"colo\" is not among profiles");
    }

    #[test]
    fn a_file_that_others_can_write_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy.toml");
        assert_eq!(Policy::read(&path, false).unwrap(), Policy::default());
        assert!(Policy::read(&path, true).unwrap_err().to_string().contains("No such file"));
        File::create(&path).unwrap().write_all(b"repair = true\n").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        assert!(Policy::read(&path, true).unwrap().repair);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o664)).unwrap();
        let refused = Policy::read(&path, false).unwrap_err().to_string();
        assert!(refused.ends_with("others can write it (chmod go-w it)"), "{refused}");
        let refused = Policy::read(dir.path(), false).unwrap_err().to_string();
        assert!(refused.ends_with("not a regular file"), "{refused}");
    }
}
